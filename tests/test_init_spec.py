from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from packc.ingest.source import ImagePreprocessing, Preprocessing, SourceInfo, TextPreprocessing
from packc.init_spec import render_spec, suggest_name
from packc.spec.model import Task
from packc.spec.read import read_spec

TEXT = TextPreprocessing(Path("tokenizer.json"), 512, 0, ("input_ids", "attention_mask"))
IMAGE = ImagePreprocessing(3, 224, 224, 256, 2, 1 / 255, (0.5,) * 3, (0.5,) * 3, "pixel_values")


def make_info(task: Task, architecture: str | None, preprocessing: Preprocessing | None) -> SourceInfo:
    return SourceInfo(
        origin="huggingface" if architecture else "onnx",
        location="/models/m",
        revision="abc123" if task == "text-classification" else None,
        fingerprint="0" * 64,
        task=task,
        architecture=architecture,
        geometry=None,
        preprocessing=preprocessing,
        pooling="none",
        normalize=False,
        labels=(),
        parameters=22_713_728 if architecture else 0,
        weights_mib=86.6,
        trust_remote_code=False,
    )


CASES = {
    "text": make_info("text-classification", "BertForSequenceClassification", TEXT),
    "image": make_info("image-classification", "ViTForImageClassification", IMAGE),
    "tensors": make_info("tensors", None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, tmp_path: Path) -> None:
    text = render_spec(CASES[case], f"my-{case}", "owner/model")
    check_golden(f"init/{case}.toml", text)
    path = tmp_path / "spec.toml"
    path.write_text(text)
    assert read_spec(path).model.name == f"my-{case}"


@pytest.mark.parametrize("case", CASES)
def test_what_is_commented_out_is_valid_too(case: str, tmp_path: Path) -> None:
    text = render_spec(CASES[case], "m", "owner/model")
    lines = [line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in text.splitlines()]
    path = tmp_path / "spec.toml"
    path.write_text("\n".join(lines))
    for name in ("traffic.jsonl", "eval.jsonl", "calib.jsonl", "eval.npz", "calib.npz"):
        (tmp_path / name).touch()
    for name in ("images/eval", "images/calib"):
        (tmp_path / name).mkdir(parents=True)
    spec = read_spec(path)
    assert spec.budget.latency_ms > 0
    assert spec.quality.data
    assert spec.optimize.precisions


def test_short_models_get_short_sequences(tmp_path: Path) -> None:
    short = TextPreprocessing(Path("tokenizer.json"), 16, 0, ("input_ids",))
    text = render_spec(make_info("fill-mask", "BertForMaskedLM", short), "m", "owner/m")
    assert "sequence = { typical = 16, max = 16 }" in text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/models/minilm/model", "minilm"),
        ("owner/bge-small-en-v1.5", "bge-small-en-v1-5"),
        ("nets.small:make", "make"),
        ("./net.onnx", "net"),
        ("/models/my model", "my-model"),
        ("./model", "model"),
    ],
)
def test_names(source: str, name: str) -> None:
    assert suggest_name(source) == name


def test_no_name_breaks_out_of_its_place(tmp_path: Path) -> None:
    odd = 'a"\ntrust_remote_code = true\nx = "'
    path = tmp_path / "spec.toml"
    path.write_text(render_spec(replace(CASES["text"], revision=odd), "m", "owner/model", f"{odd}.toml"))
    model = read_spec(path).model
    assert (model.trust_remote_code, model.revision) == (False, odd)
