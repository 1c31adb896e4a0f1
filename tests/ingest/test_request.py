from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from checkpoints import write_bert_folder, write_vit_folder
from packc.ingest.inspect import inspect_source
from packc.ingest.request import (
    Failure,
    Request,
    read_failure,
    read_request,
    read_source,
    read_training,
    write_failure,
    write_request,
    write_source,
    write_training,
)
from packc.ingest.source import SourceInfo, SourceModel
from packc.ingest.student import Training
from packc.samples import RawSamples
from packc.spec.model import ModelSection
from packc.tensors import TensorSpec


def look(folder: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="m", source=str(folder)))


def test_request_survives_the_journey(tmp_path: Path) -> None:
    for info in (look(write_bert_folder(tmp_path / "bert")), look(write_vit_folder(tmp_path / "vit"))):
        texts = RawSamples("eval.jsonl", texts=("a\tb", "ü"), labels=("x", "y"))
        images = RawSamples("images", images=(tmp_path / "a.png",))
        request = Request(info, tmp_path / "export", True, None, texts, images, ("/lib",))
        write_request(tmp_path / "request.json", request)
        assert read_request(tmp_path / "request.json") == request


def test_failure(tmp_path: Path) -> None:
    failure = Failure("data", (("first", None), ("second", "mend it")))
    assert read_failure(tmp_path / "failure.json") is None
    write_failure(tmp_path / "failure.json", failure)
    assert read_failure(tmp_path / "failure.json") == failure


def test_source_is_found_where_its_folder_lies_now(tmp_path: Path) -> None:
    info = look(write_bert_folder(tmp_path / "bert"))
    tensor = TensorSpec("input_ids", "int64", ("batch", 3))
    staging = tmp_path / "staging"
    staging.mkdir()
    source = SourceModel(info, staging / "model.onnx", (tensor,), (tensor,), "input_ids", 1e-6, "torch 2")
    write_source(source)
    staging.rename(tmp_path / "entry")
    moved = replace(info, location="/elsewhere")
    found = read_source(tmp_path / "entry", moved)
    assert found == replace(source, info=moved, graph=tmp_path / "entry" / "model.onnx")


def test_training(tmp_path: Path) -> None:
    training = Training(3, 6, 300, 540, 1.3, 0.2, 90.0, "texts.jsonl", 300)
    write_training(tmp_path, training)
    assert read_training(tmp_path) == training
