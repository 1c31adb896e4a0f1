from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import write_smooth_images
from package_parts import make_text_source, make_token_sample
from packc.errors import DataError, PackError
from packc.ingest.source import SourceModel
from packc.package.golden import (
    MAX_REQUESTS,
    GoldenSet,
    cast_golden,
    find_golden,
    load_golden,
    make_golden,
    match_types,
    write_golden,
)
from packc.package.pipelines.choice import ChosenPipeline
from packc.samples import RawSamples, save_samples


def make(folder: Path, source: SourceModel, pipeline: ChosenPipeline, raw: RawSamples, count: int) -> GoldenSet:
    folder.mkdir()
    save_samples(folder / "inputs.npz", [make_token_sample([2, i % 9, 3]) for i in range(count)])
    values = [np.array([[i, 0.5]], dtype=np.float32) for i in range(count)]
    save_samples(folder / "answers.npz", [{source.answer: value} for value in values])
    save_samples(folder / "source.npz", [{source.answer: value + 1} for value in values])
    return make_golden(pipeline, source, raw, folder / "inputs.npz", folder / "answers.npz", folder / "source.npz")


def test_texts_are_spread_over_the_data(tmp_path: Path) -> None:
    raw = RawSamples("eval.jsonl", texts=tuple(f"text {i}" for i in range(100)))
    golden = make(tmp_path / "a", make_text_source(tmp_path), "text", raw, 100)
    assert len(golden.texts) == MAX_REQUESTS
    assert golden.texts[0] == "text 0"
    assert golden.texts[-1] == "text 99"
    assert golden.answers[-1]["embedding"].tolist() == [[99, 0.5]]
    assert golden.source_answers[-1]["embedding"].tolist() == [[100, 1.5]]


def test_labels_are_what_clients_get(tmp_path: Path) -> None:
    source = make_text_source(tmp_path, "text-classification", ("low", "high"))
    golden = make(tmp_path / "a", source, "text", RawSamples("x", texts=("a", "b")), 2)
    assert [answer["label"].tolist() for answer in golden.answers] == [[["high"]], [["low"]]]
    np.testing.assert_allclose(golden.answers[0]["score"], [[1 / (1 + np.exp(-0.5))]], rtol=1e-6)
    assert golden.answers[0]["score"].dtype == np.float32


@pytest.mark.parametrize("pipeline", ["text", "image", "none"])
def test_what_is_written_is_read_back(tmp_path: Path, pipeline: ChosenPipeline) -> None:
    images = tuple(sorted(write_smooth_images(tmp_path / "images", 2).iterdir()))
    raw = RawSamples("x", texts=("one", "zwei\t3 é"), images=images)
    golden = make(tmp_path / "a", make_text_source(tmp_path), pipeline, raw, 2)
    write_golden(tmp_path / "golden", golden)
    loaded = load_golden(tmp_path / "golden")
    assert loaded.pipeline == pipeline
    assert loaded.texts == golden.texts
    assert [image.read_bytes() for image in loaded.images] == [image.read_bytes() for image in golden.images]
    for ours, theirs in (
        (loaded.answers, golden.answers),
        (loaded.source_answers, golden.source_answers),
        (loaded.tensors, golden.tensors),
    ):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[name], b[name]) for name in a)


def test_data_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"eval\.npz holds no texts, but clients of this package send texts"):
        make(tmp_path / "a", make_text_source(tmp_path), "text", RawSamples("eval.npz", tensors=tmp_path), 3)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname"])
def test_requests_stay_inside_the_package(tmp_path: Path, name: str) -> None:
    images = tuple(write_smooth_images(tmp_path / "images", 1).iterdir())
    golden = make(tmp_path / "a", make_text_source(tmp_path), "image", RawSamples("x", images=images), 1)
    write_golden(tmp_path / "golden", golden)
    path = tmp_path / "golden/requests.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "requests": [name]}))
    with pytest.raises(PackError, match="names a file outside the package"):
        load_golden(tmp_path / "golden")


def test_broken_golden_sets(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"golden requests in .* cannot be read"):
        load_golden(tmp_path / "nowhere")
    golden = make(tmp_path / "a", make_text_source(tmp_path), "none", RawSamples("x"), 2)
    write_golden(tmp_path / "golden", golden)
    path = tmp_path / "golden/requests.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(PackError, match="has schema 2, this pack reads 1"):
        load_golden(tmp_path / "golden")
    path.write_text("{}")
    with pytest.raises(PackError, match="cannot be read"):
        load_golden(tmp_path / "golden")


def test_only_the_answers_that_are_kept_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers of a masked language model may be many GiB."""
    read: list[str] = []
    get = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: (read.append(key), get(self, key))[1])
    make(tmp_path / "a", make_text_source(tmp_path), "none", RawSamples("generated"), 100)
    assert len({key.split("/")[0] for key in read}) == MAX_REQUESTS


def test_a_target_measured_apart_has_golden_requests_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "targets" / "l4" / "golden").mkdir(parents=True)
    (tmp_path / "targets" / "t4").mkdir()
    assert find_golden(tmp_path) == find_golden(tmp_path, "t4") == tmp_path / "golden"
    assert find_golden(tmp_path, "l4") == tmp_path / "targets" / "l4" / "golden"


def test_requests_have_the_types_that_the_served_model_takes(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    sample = make_token_sample([2, 4, 3])
    golden = GoldenSet("none", answers=(), source_answers=(), tensors=[sample])
    narrow = [replace(tensor, dtype="int32") for tensor in source.inputs]
    cast = cast_golden(golden, narrow)
    (request,) = match_types([sample], cast)
    assert {array.dtype.name for array in request.values()} == {"int32"}
    assert list(match_types([sample], GoldenSet("text", (), (), texts=("a",)))) == [sample]
