from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_bert_folder, write_vit_folder
from models import make_sentences, make_tiny_onnx, write_jsonl, write_tokenizer
from packc.data import workload
from packc.data.workload import (
    curve_cases,
    list_request_lengths,
    make_latency_inputs,
    measure_ranges,
    workload_cases,
)
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo, SourceModel, TextPreprocessing
from packc.samples import Array, RawSamples, iter_samples, load_samples, save_samples
from packc.spec.model import ModelSection, Range, WorkloadSection
from packc.tensors import Dim, ShapeCase, TensorSpec
from target_spec import target_spec


def look(source: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="m", source=str(source)))


def make_source(info: SourceInfo, **shapes: tuple[Dim, ...]) -> SourceModel:
    kinds = {"pixel_values": "float32", "features": "float32"}
    inputs = tuple(TensorSpec(name, kinds.get(name, "int64"), shape) for name, shape in shapes.items())
    return SourceModel(info, Path("model.onnx"), inputs, (), "y", 0.0, "")


@pytest.fixture
def info(tmp_path: Path) -> SourceInfo:
    """A text encoder that reads 48 tokens."""
    return look(write_bert_folder(tmp_path / "bert"))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """100 samples of 5 to 24 tokens: 101 at the start, 102 at the end, different tokens within."""
    samples = []
    for i in range(100):
        tokens = np.array([[101, *range(1000 * i, 1000 * i + 3 + i % 20), 102]])
        samples.append({"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": 0 * tokens})
    save_samples(tmp_path / "inputs.npz", samples)
    return tmp_path / "inputs.npz"


def cases_of(workload: WorkloadSection, inputs: Path, info: SourceInfo) -> list[tuple[str, int, int | None]]:
    cases = workload_cases(target_spec(workload=workload), inputs, info)
    return [(case.name, case.batch, case.sequence) for case in cases]


def test_lengths_of_the_spec(inputs: Path, info: SourceInfo) -> None:
    workload = WorkloadSection(batch=Range(typical=2, max=16), sequence=Range(typical=20, max=40))
    assert cases_of(workload, inputs, info) == [("typical", 2, 20), ("max", 16, 40)]


def test_lengths_of_the_evaluation_inputs_are_rounded_up(inputs: Path, info: SourceInfo) -> None:
    assert cases_of(WorkloadSection(), inputs, info) == [("typical", 1, 16), ("max", 8, 24)]


def test_lengths_of_the_workload_data(inputs: Path, info: SourceInfo, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokens")
    assert isinstance(info.preprocessing, TextPreprocessing)
    how = replace(info.preprocessing, tokenizer=tmp_path / "tokens" / "tokenizer.json")
    path = write_jsonl(tmp_path / "traffic.jsonl", [{"text": text} for text in make_sentences(30, words=20)])
    found = cases_of(WorkloadSection(data=str(path)), inputs, replace(info, preprocessing=how))
    assert found == [("typical", 1, 24), ("max", 8, 24)]


def test_no_length_is_above_what_the_model_reads(
    inputs: Path, info: SourceInfo, caplog: pytest.LogCaptureFixture
) -> None:
    workload = WorkloadSection(sequence=Range(typical=32, max=512))
    with caplog.at_level(logging.WARNING):
        assert cases_of(workload, inputs, info) == [("typical", 1, 32), ("max", 8, 48)]
    assert "the model reads 48 tokens, workload.sequence.max is 512" in caplog.text


def test_images_have_no_length(inputs: Path, tmp_path: Path) -> None:
    info = look(write_vit_folder(tmp_path / "vit"))
    assert cases_of(WorkloadSection(), inputs, info) == [("typical", 1, None), ("max", 8, None)]


def test_token_tensors_of_exact_shape(inputs: Path, info: SourceInfo, tmp_path: Path) -> None:
    axes: tuple[Dim, ...] = ("batch", "sequence")
    source = make_source(info, input_ids=axes, attention_mask=axes, token_type_ids=axes)
    cases = (ShapeCase("typical", 1, 16), ShapeCase("max", 8, 400))
    make_latency_inputs(cases, inputs, source, tmp_path / "latency.npz")
    typical, largest = load_samples(tmp_path / "latency.npz")
    assert {name: array.shape for name, array in typical.items()} == dict.fromkeys(source_names(source), (1, 16))
    assert {name: array.shape for name, array in largest.items()} == dict.fromkeys(source_names(source), (8, 400))
    for sample in (typical, largest):
        tokens = sample["input_ids"]
        assert (tokens[:, 0] == 101).all()
        assert (tokens[:, -1] == 102).all()
        assert not np.isin(tokens[:, 1:-1], (101, 102)).any()
        assert (sample["attention_mask"] == 1).all()
        assert (sample["token_type_ids"] == 0).all()
        assert {array.dtype for array in sample.values()} == {np.dtype("int64")}
    assert len({row.tobytes() for row in largest["input_ids"]}) > 1


def test_a_sequence_says_nothing_about_tensors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = look(make_tiny_onnx(tmp_path / "tiny.onnx"))
    assert cases_of(WorkloadSection(sequence=Range(typical=8, max=16)), tmp_path, info)[0] == ("typical", 1, None)
    assert "workload.sequence says nothing here" in caplog.text


def test_very_short_sequences(inputs: Path, info: SourceInfo, tmp_path: Path) -> None:
    source = make_source(info, input_ids=("batch", "sequence"))
    make_latency_inputs((ShapeCase("typical", 2, 1),), inputs, source, tmp_path / "latency.npz")
    assert load_samples(tmp_path / "latency.npz")[0]["input_ids"].shape == (2, 1)


def test_tensors_are_stacked_over_and_over(tmp_path: Path) -> None:
    info = look(make_tiny_onnx(tmp_path / "tiny.onnx"))
    save_samples(tmp_path / "inputs.npz", [{"features": np.full((1, 8), i, np.float32)} for i in range(3)])
    source = make_source(info, features=("batch", 8))
    make_latency_inputs((ShapeCase("max", 4, None),), tmp_path / "inputs.npz", source, tmp_path / "latency.npz")
    (sample,) = load_samples(tmp_path / "latency.npz")
    assert sample["features"][:, 0].tolist() == [0, 1, 2, 0]


def test_no_more_samples_are_read_than_the_largest_case_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(look(make_tiny_onnx(tmp_path / "tiny.onnx")), features=("batch", 8))
    save_samples(tmp_path / "inputs.npz", [{"features": np.full((1, 8), i, np.float32)} for i in range(50)])
    read: list[int] = []

    def count(path: Path) -> Iterator[dict[str, Array]]:
        for sample in iter_samples(path):
            read.append(int(sample["features"][0, 0]))
            yield sample

    monkeypatch.setattr(workload, "iter_samples", count)
    make_latency_inputs((ShapeCase("max", 3, None),), tmp_path / "inputs.npz", source, tmp_path / "latency.npz")
    assert read == [0, 1, 2]


def test_a_model_without_batch_gets_its_own_shape(tmp_path: Path) -> None:
    info = look(make_tiny_onnx(tmp_path / "tiny.onnx"))
    save_samples(tmp_path / "inputs.npz", [{"features": np.ones((2, 8), np.float32)}])
    source = make_source(info, features=(2, 8))
    make_latency_inputs((ShapeCase("max", 4, None),), tmp_path / "inputs.npz", source, tmp_path / "latency.npz")
    assert load_samples(tmp_path / "latency.npz")[0]["features"].shape == (2, 8)


def source_names(source: SourceModel) -> list[str]:
    return [spec.name for spec in source.inputs]


def test_lengths_of_requests_are_those_of_the_traffic_else_of_the_evaluation(
    inputs: Path, info: SourceInfo, tmp_path: Path
) -> None:
    spec = target_spec(workload=WorkloadSection(batch=Range(typical=3, max=8)))
    lengths = list_request_lengths(spec, inputs, info, None)
    assert len(lengths) == 34
    assert lengths[:3] == (7, 10, 13), "the longest of three samples of 5, 6, 7, ... tokens"
    write_tokenizer(tmp_path / "tokens")
    assert isinstance(info.preprocessing, TextPreprocessing)
    how = replace(info.preprocessing, tokenizer=tmp_path / "tokens" / "tokenizer.json")
    long, short = make_sentences(2, words=20)[0], "a"
    texts = RawSamples("traffic", texts=(short, long, short, short))
    one, two = list_request_lengths(spec, inputs, replace(info, preprocessing=how), texts)
    assert one > 20 > two


def test_requests_of_a_model_that_reads_no_text_have_no_length(tmp_path: Path) -> None:
    info = look(make_tiny_onnx(tmp_path / "m.onnx"))
    assert list_request_lengths(target_spec(), tmp_path / "none.npz", info, None) == (0,)


def test_a_curve_covers_the_lengths_that_come() -> None:
    cases = curve_cases((1, 4), [*range(8, 40), 100])
    assert [(case.batch, case.sequence) for case in cases[:4]] == [(1, 16), (1, 24), (1, 40), (1, 100)]
    assert cases[4] == ShapeCase("4x16", 4, 16)
    assert len(cases) == 8


def test_a_curve_without_lengths_is_about_batches() -> None:
    assert curve_cases((1, 8), (0,)) == (ShapeCase("1", 1, None), ShapeCase("8", 8, None))


def test_texts_have_any_length_that_the_model_reads(inputs: Path, info: SourceInfo) -> None:
    source = make_source(info, input_ids=("batch", "sequence"), attention_mask=("batch", "sequence"))
    cases = (ShapeCase("typical", 2, 6), ShapeCase("max", 4, 16))
    ids, mask = measure_ranges(source, cases, 8, inputs)
    assert (ids.name, ids.least, ids.cases, ids.most) == ("input_ids", (1, 1), ((2, 6), (4, 16)), (8, 48))
    assert mask.most == ids.most


def test_other_open_axes_are_as_the_data_have_them(
    tmp_path: Path, info: SourceInfo, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(replace(info, preprocessing=None), features=("batch", "samples", 2), scale=(1,))
    file = tmp_path / "signals.npz"
    save_samples(file, [{"features": np.zeros((1, n, 2), np.float32)} for n in (30, 10, 20)])
    first, second = measure_ranges(source, (ShapeCase("typical", 1, None),), 4, file)
    assert (first.least, first.cases, first.most) == ((1, 10, 2), ((1, 20, 2),), (4, 30, 2))
    assert second.least == second.most == (1,)
    assert "sizes 10 to 30 of axis 'samples'" in caplog.text
