from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from packc.errors import PackError, UsageError
from packc.package.golden import GoldenSet
from packc.samples import RawSamples, save_samples
from packc.server.requests import (
    batch_requests,
    generate_request,
    golden_requests,
    make_requests,
    read_requests,
    write_curl,
)
from packc.tensors import TensorSpec


def test_texts_and_images_become_strings(tmp_path: Path) -> None:
    (request,) = make_requests("text", RawSamples("here", texts=("grün",)), None)
    assert request["text"].shape == (1, 1)
    assert request["text"][0, 0] == "grün".encode()
    image = tmp_path / "a.png"
    image.write_bytes(b"\x89PNG\0\0")
    (request,) = make_requests("image", RawSamples("here", images=(image,)), None)
    assert request["image"].dtype == object
    assert request["image"][0, 0] == b"\x89PNG\0\0", "bytes at the end that are zero belong to the image"


def test_tensors_come_from_their_file(tmp_path: Path) -> None:
    save_samples(tmp_path / "x.npz", [{"x": np.ones((1, 2))}, {"x": np.zeros((1, 3))}])
    requests = list(make_requests("none", RawSamples("here"), tmp_path / "x.npz"))
    assert [request["x"].shape for request in requests] == [(1, 2), (1, 3)]
    with pytest.raises(PackError, match="needs a samples file"):
        make_requests("none", RawSamples("here"), None)


def test_golden_requests_of_each_kind(tmp_path: Path) -> None:
    (request,) = golden_requests(GoldenSet("text", [{}], [{}], texts=("hi",)))
    assert request["text"][0, 0] == b"hi"
    tensors = [{"x": np.ones((1, 2))}]
    assert golden_requests(GoldenSet("none", [{}], [{}], tensors=tensors)) == tensors


def test_batches_hold_samples_of_one_shape() -> None:
    samples = [{"x": np.full((1, length), i)} for i, length in enumerate((2, 3, 2, 2))]
    batches = batch_requests(samples, 2)
    assert [batch["x"].tolist() for batch in batches] == [[[0, 0], [2, 2]], [[3, 3], [0, 0]], [[1, 1, 1], [1, 1, 1]]]
    assert batch_requests(samples, 1) == samples


def test_requests_are_made_up_from_the_models_inputs() -> None:
    request = generate_request(
        [
            TensorSpec("text", "object", ("batch", 1)),
            TensorSpec("ids", "int64", ("batch", "any")),
            TensorSpec("pixels", "float32", ("batch", 3, 2, 2)),
        ]
    )
    assert request["text"].shape == (1, 1)
    assert isinstance(request["text"][0, 0], bytes)
    assert request["ids"].dtype == np.int64
    assert request["ids"].shape == (1, 16)
    assert request["pixels"].shape == (1, 3, 2, 2)


def test_a_curl_line_can_be_pasted() -> None:
    line = write_curl("http://here:8000", "minilm", {"text": np.array([[b"it's a cat"]], object)})
    assert line is not None
    command = shlex.split(line)
    assert command[:4] == ["curl", "-s", "http://here:8000/v2/models/minilm/infer", "-d"]
    (sent,) = json.loads(command[4])["inputs"]
    assert sent == {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["it's a cat"]}
    numbers = write_curl("http://here", "m", {"x": np.array([[1, 2]], np.int64)})
    assert numbers is not None
    assert '"INT64"' in numbers
    assert write_curl("http://here", "m", {"image": np.array([[b"\x89PNG"]], object)}) is None
    assert write_curl("http://here", "m", {"x": np.zeros((1, 5000))}) is None


def test_requests_are_read_for_the_models_inputs(tmp_path: Path) -> None:
    text, numbers = TensorSpec("text", "object", ("batch", 1)), TensorSpec("x", "float32", ("batch", 2))
    (tmp_path / "texts.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    requests = read_requests(tmp_path / "texts.jsonl", [text])
    assert [request["text"][0, 0] for request in requests] == [b"one", b"two"]
    save_samples(tmp_path / "x.npz", [{"x": np.ones((1, 2), np.float32)}])
    assert read_requests(tmp_path / "x.npz", [numbers])[0]["x"].shape == (1, 2)
    with pytest.raises(UsageError, match=r"it takes tensors \(x\)"):
        read_requests(tmp_path / "texts.jsonl", [numbers])
    with pytest.raises(UsageError, match="there are no data"):
        read_requests(tmp_path / "nothing.jsonl", [text])
