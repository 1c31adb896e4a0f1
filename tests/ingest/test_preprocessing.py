from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints import BERT_CONFIG, VIT_CONFIG, write_bert_folder, write_vit_folder
from models import write_json
from packc.ingest.preprocessing import read_image_preprocessing, read_text_preprocessing


@pytest.mark.parametrize(
    ("tokenizer", "changes", "wrapper", "expected"),
    [
        (48, {}, None, 48),
        (512, {}, None, 64),
        (10**30, {}, None, 64),
        (48, {}, 32, 32),
        (48, {}, 128, 64),
        (512, {"model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 1}, None, 64),
        (10**30, {"max_position_embeddings": None}, None, 512),
    ],
)
def test_max_length(
    tokenizer: int, changes: dict[str, object], wrapper: int | None, expected: int, tmp_path: Path
) -> None:
    folder = write_bert_folder(tmp_path / "bert")
    write_json(folder / "tokenizer_config.json", {"model_max_length": tokenizer})
    assert read_text_preprocessing(folder, {**BERT_CONFIG, **changes}, wrapper).max_length == expected


@pytest.mark.parametrize(
    ("types", "names", "with_types"),
    [(2, None, True), (1, None, False), (2, ["input_ids", "attention_mask"], False), (0, None, False)],
)
def test_token_types(types: int, names: list[str] | None, with_types: bool, tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "bert")
    write_json(folder / "tokenizer_config.json", {"model_input_names": names})
    found = read_text_preprocessing(folder, {**BERT_CONFIG, "type_vocab_size": types})
    assert ("token_type_ids" in found.inputs) == with_types


@pytest.mark.parametrize(("direction", "is_left"), [("Left", True), ("Right", False), (None, False)])
def test_padding_is_on_the_side_that_the_tokenizer_says(direction: str | None, is_left: bool, tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "bert")
    write_json(folder / "tokenizer.json", {"padding": {"direction": direction} if direction else None})
    assert read_text_preprocessing(folder, BERT_CONFIG).pads_left == is_left


def test_fixed_size(tmp_path: Path) -> None:
    how = read_image_preprocessing(write_vit_folder(tmp_path / "vit", resample=3), VIT_CONFIG)
    assert (how.channels, how.height, how.width, how.resize_shortest_edge, how.resample) == (3, 32, 32, None, 3)
    assert (how.rescale, how.mean, how.std) == (1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_shortest_edge_then_crop(tmp_path: Path) -> None:
    folder = write_vit_folder(
        tmp_path / "clip", image_processor_type="CLIPImageProcessor", size={"shortest_edge": 40}, crop_size=32
    )
    how = read_image_preprocessing(folder, VIT_CONFIG)
    assert (how.resize_shortest_edge, how.height, how.width, how.resample) == (40, 32, 32, 3)
    assert how.mean[0] == pytest.approx(0.48145466)


@pytest.mark.parametrize(("edge", "resized"), [(224, 256), (384, None)])
def test_convnext_crops_below_384(edge: int, resized: int | None, tmp_path: Path) -> None:
    folder = write_vit_folder(
        tmp_path / "convnext",
        image_processor_type="ConvNextImageProcessor",
        size={"shortest_edge": edge},
        crop_pct=0.875,
    )
    how = read_image_preprocessing(folder, VIT_CONFIG)
    assert (how.resize_shortest_edge, how.height, how.width) == (resized, edge, edge)


def test_switched_off_steps_do_nothing(tmp_path: Path) -> None:
    folder = write_vit_folder(tmp_path / "vit", do_rescale=False, do_normalize=False)
    how = read_image_preprocessing(folder, VIT_CONFIG)
    assert (how.rescale, how.mean, how.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
