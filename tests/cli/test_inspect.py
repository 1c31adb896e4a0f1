from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from manifests import CHOSEN, make_gpu_manifest, make_kept_manifest
from packc.cli.main import run
from packc.package.manifest import GpuStateRecord
from packc.package.manifest_file import hash_files, write_manifest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name, content in (
        ("model_repository/minilm/config.pbtxt", b'name: "minilm"'),
        ("model_repository/minilm_model/1/model.onnx", b"x" * 3 * 2**20),
        ("model_repository/minilm_model/config.pbtxt", b'name: "minilm_model"'),
        ("golden/requests.json", b"[]"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_manifest(folder, replace(make_kept_manifest(), files=hash_files(folder)))
    return folder


def test_package_as_text(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(package)]) == 0
    out = capsys.readouterr().out
    assert "minilm for cpu (profile host): verified" in out
    assert f"{CHOSEN} keeps every promise" in out
    assert "Triton models: minilm, minilm_model" in out
    assert "4 files, 3.0 MiB" in out
    assert "every file is as it was built" in out


def test_a_package_timed_on_a_gpu_says_how_that_ran(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timed = make_gpu_manifest(GpuStateRecord(1980, 3201, 310.4, 54, ()))
    write_manifest(package, replace(timed, environment={"device": "NVIDIA H200"}, files=hash_files(package)))
    assert run(["inspect", str(package)]) == 0
    assert "\nNVIDIA H200: SM clock 1,980 MHz, 310 W, 54 °C after the calls\n" in capsys.readouterr().out
    assert run(["inspect", str(package), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["gpu"], document["combined"]) == ("SM clock 1,980 MHz, 310 W, 54 °C after the calls", [])


def test_package_as_json(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(package), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["kind"], document["state"]) == (1, "package", "verified")
    assert (document["met"], document["chosen"]) == (True, CHOSEN)
    assert document["models"] == ["minilm", "minilm_model"]
    sizes = {file["path"]: file["size_bytes"] for file in document["files"]}
    assert sizes["model_repository/minilm_model/1/model.onnx"] == 3 * 2**20
    assert document["problems"] == []


def test_a_changed_package_says_what_changed(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (package / "golden/requests.json").unlink()
    (package / "model_repository/minilm/config.pbtxt").write_text("")
    assert run(["inspect", str(package)]) == 0
    out = capsys.readouterr().out
    assert "golden/requests.json is missing" in out
    assert "model_repository/minilm/config.pbtxt was changed" in out
    assert "as it was built" not in out


def test_model_as_text(tiny_bert_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tiny_bert_dir)]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["model"] == str(tiny_bert_dir)
    assert facts["task"] == "sentence-similarity"
    assert facts["geometry"] == "2 layers, 4 heads, hidden 32, feed-forward 64"
    assert facts["takes"] == "text of at most 64 tokens, as input_ids, attention_mask, token_type_ids"
    assert facts["pooling"] == "mean, scaled to unit length"
    assert "labels" not in facts


def test_image_classifier_as_text(tiny_vit_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tiny_vit_dir)]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["takes"] == "images, 3 x 32 x 32, as pixel_values"
    assert facts["labels"] == "3: cat, dog, bird"


def test_the_model_of_a_spec_as_json(tiny_bert_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(f'[model]\nname = "tiny"\nsource = "{tiny_bert_dir}"\n\n[targets.cpu]\nprofile = "host"\n')
    assert run(["inspect", str(spec), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["kind"], document["origin"]) == (1, "model", "huggingface")
    assert document["geometry"]["layers"] == 2


def test_nothing_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tmp_path / "none")]) == 2
    assert "error:" in capsys.readouterr().err
