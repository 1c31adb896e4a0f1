from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_vit_folder
from models import make_tiny_bert, write_smooth_images
from packc.data.read import mark_pairs
from packc.errors import DataError, SourceError
from packc.ingest.inspect import inspect_source
from packc.ingest.model_inputs import make_inputs
from packc.ingest.source import ImagePreprocessing, SourceInfo
from packc.samples import RawSamples, save_samples
from packc.spec.model import ModelSection
from packc.tensors import TensorSpec

FEATURES = TensorSpec("features", "float32", ("batch", 8))
LENGTHS = TensorSpec("lengths", "int64", ("batch", "time"))
PIXELS = TensorSpec("pixel_values", "float32", ("batch", 3, 32, 32))
TOKENS = tuple(
    TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")
)


def texts(*values: str) -> RawSamples:
    return RawSamples("eval.jsonl", texts=values)


def test_texts_and_pairs(bert_info: SourceInfo) -> None:
    raw = texts("the red cat", "a dog\ta bird")
    single, pair = make_inputs(raw, mark_pairs(bert_info, raw), TOKENS, 0)
    assert single["input_ids"].shape == (1, 5)
    assert single["input_ids"].dtype == np.int64
    assert pair["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_a_tab_is_a_character_where_samples_are_no_pairs(bert_info: SourceInfo) -> None:
    tab, space = make_inputs(texts("a dog\ta bird", "a dog a bird"), bert_info, TOKENS, 0)
    assert tab["input_ids"].tolist() == space["input_ids"].tolist()
    assert not tab["token_type_ids"].any()


def test_tensors_are_of_the_graphs_types(bert_info: SourceInfo, tmp_path: Path) -> None:
    small = tuple(replace(spec, dtype="int32") for spec in TOKENS)
    (sample,) = make_inputs(texts("a cat"), bert_info, small, 0)
    assert {str(array.dtype) for array in sample.values()} == {"int32"}
    info = inspect_source(ModelSection(name="m", source=str(write_vit_folder(tmp_path / "vit"))))
    images = tuple(write_smooth_images(tmp_path / "images", 1).glob("*.png"))
    (sample,) = make_inputs(RawSamples("images", images=images), info, (replace(PIXELS, dtype="float16"),), 0)
    assert sample["pixel_values"].dtype == np.float16


def test_long_texts_are_cut(bert_info: SourceInfo) -> None:
    (sample,) = make_inputs(texts("cat " * 500), bert_info, TOKENS, 0)
    assert sample["input_ids"].shape == (1, 64)


def test_tokenizer_that_would_be_packed_wrongly_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path / "bert", layers=1)
    info = inspect_source(ModelSection(name="m", source=str(folder)))
    other = make_tiny_bert(tmp_path / "other", layers=1)
    content = json.loads((other / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (other / "tokenizer.json").write_text(json.dumps(content))
    assert info.preprocessing is not None
    broken = replace(info, preprocessing=replace(info.preprocessing, tokenizer=other / "tokenizer.json"))
    with pytest.raises(SourceError, match="AutoTokenizer disagree on input_ids of 'The Cat'"):
        list(make_inputs(texts("The Cat"), broken, TOKENS, 0))


def test_images(tmp_path: Path) -> None:
    info = inspect_source(ModelSection(name="m", source=str(write_vit_folder(tmp_path / "vit"))))
    images = tuple(sorted(write_smooth_images(tmp_path / "images", 2).glob("*.png")))
    samples = list(make_inputs(RawSamples("images", images=images), info, (PIXELS,), 0))
    assert [sample["pixel_values"].shape for sample in samples] == [(1, 3, 32, 32)] * 2


def test_broken_image(tmp_path: Path) -> None:
    info = inspect_source(ModelSection(name="m", source=str(write_vit_folder(tmp_path / "vit"))))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png is not a readable image"):
        list(make_inputs(RawSamples("images", images=(tmp_path / "broken.png",)), info, (PIXELS,), 0))


def test_image_processor_that_pack_cannot_repeat_is_refused(tmp_path: Path) -> None:
    info = inspect_source(ModelSection(name="m", source=str(write_vit_folder(tmp_path / "vit"))))
    assert isinstance(info.preprocessing, ImagePreprocessing)
    wrong = replace(info, preprocessing=replace(info.preprocessing, std=(0.4, 0.4, 0.4)))
    images = tuple(write_smooth_images(tmp_path / "images", 1).glob("*.png"))
    with pytest.raises(SourceError, match="cannot repeat the model's ViTImageProcessor"):
        list(make_inputs(RawSamples("images", images=images), wrong, (PIXELS,), 0))


@pytest.fixture
def tensors_info(tiny_onnx_path: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="m", source=str(tiny_onnx_path)))


def test_tensors_of_the_right_shape(tensors_info: SourceInfo, tmp_path: Path) -> None:
    sample = {"features": np.ones((1, 8), np.float32), "lengths": np.ones((1, 5), np.int64)}
    save_samples(tmp_path / "eval.npz", [sample] * 2)
    raw = RawSamples("eval.npz", tensors=tmp_path / "eval.npz")
    assert len(list(make_inputs(raw, tensors_info, (FEATURES, LENGTHS), 0))) == 2


@pytest.mark.parametrize(
    ("name", "array", "mistake"),
    [
        ("features", np.ones((1, 7), np.float32), r"features has the shape \[1, 7\], not \[1, 8\]"),
        ("features", np.ones(8, np.float32), r"features has the shape \[8\], not \[1, 8\]"),
        ("features", np.ones((2, 8), np.float32), r"features has the shape \[2, 8\], not \[1, 8\]"),
        ("features", np.ones((1, 8)), "features is float64, not float32"),
        ("input", np.ones((1, 8), np.float32), r"it has \['input'\], not \['features'\]"),
    ],
)
def test_tensors_that_do_not_fit(
    name: str, array: np.ndarray, mistake: str, tensors_info: SourceInfo, tmp_path: Path
) -> None:
    save_samples(tmp_path / "calib.npz", [{"features": np.ones((1, 8), np.float32)}, {name: array}])
    raw = RawSamples("calib.npz", tensors=tmp_path / "calib.npz")
    with pytest.raises(DataError, match=f"calib.npz: sample 1: {mistake}"):
        make_inputs(raw, tensors_info, (FEATURES,), 0)


def test_samples_with_the_same_mistake_are_counted(tensors_info: SourceInfo, tmp_path: Path) -> None:
    save_samples(tmp_path / "calib.npz", [{"features": np.ones((1, 9), np.float32)}] * 25)
    with pytest.raises(DataError) as caught:
        make_inputs(RawSamples("calib.npz", tensors=tmp_path / "calib.npz"), tensors_info, (FEATURES,), 0)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "calib.npz: sample 0 and 24 more: features has the shape [1, 9], not [1, 8]"
    assert diagnostic.hint == "the model takes features float32 ['batch', 8]"


def test_many_different_mistakes_are_cut_short(tensors_info: SourceInfo, tmp_path: Path) -> None:
    save_samples(tmp_path / "calib.npz", [{"features": np.ones((1, 9 + i), np.float32)} for i in range(14)])
    with pytest.raises(DataError) as caught:
        make_inputs(RawSamples("calib.npz", tensors=tmp_path / "calib.npz"), tensors_info, (FEATURES,), 0)
    assert len(caught.value.diagnostics) == 11
    assert caught.value.diagnostics[-1].message == "and 4 more such mistakes"


def test_drawn_samples_fit_and_differ_by_seed(tensors_info: SourceInfo) -> None:
    specs = (FEATURES, LENGTHS)
    first, again, other = (list(make_inputs(RawSamples("generated"), tensors_info, specs, seed)) for seed in (0, 0, 1))
    assert first[0]["features"].shape == (1, 8)
    assert first[0]["lengths"].shape == (1, 16)
    np.testing.assert_array_equal(first[3]["features"], again[3]["features"])
    assert not np.array_equal(first[3]["features"], other[3]["features"])


def test_text_for_a_model_of_tensors(tensors_info: SourceInfo) -> None:
    with pytest.raises(DataError, match="another kind"):
        make_inputs(texts("a cat"), tensors_info, (FEATURES,), 0)
