from __future__ import annotations

from pathlib import Path

import pytest

from packc.spec.paths import resolve_paths, resolve_source
from packc.toml.places import Loc


def collect(document: dict[str, object], folder: Path) -> list[tuple[Loc, str]]:
    found: list[tuple[Loc, str]] = []
    resolve_paths(document, folder, lambda loc, message, hint: found.append((loc, message)))
    return found


@pytest.mark.parametrize("source", ["owner/model", "gpt2", "nets.small:make", "nets:Small.make"])
def test_ids_and_factories_are_kept(tmp_path: Path, source: str) -> None:
    document = {"model": {"source": source}}
    assert collect(document, tmp_path) == []
    assert document["model"]["source"] == source


@pytest.mark.parametrize("source", ["./model", "../model", "/nowhere/model", "model.onnx", "a/b/c", "two words"])
def test_what_looks_like_a_path_must_exist(tmp_path: Path, source: str) -> None:
    assert [loc for loc, _ in collect({"model": {"source": source}}, tmp_path)] == [("model", "source")]


def test_a_source_that_exists_is_resolved_whatever_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "two words").mkdir()
    assert resolve_source("two words", tmp_path) == str(tmp_path / "two words")
    assert resolve_source("owner/model", tmp_path) == "owner/model"


def test_data_of_targets_is_resolved_too(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    document = {
        "calibration": {"data": "images"},
        "targets": {"a": {"workload": {"data": "images"}}, "b": {"quality": {"data": "none"}}},
    }
    assert [loc for loc, _ in collect(document, tmp_path)] == [("targets", "b", "quality", "data")]
    assert document["calibration"]["data"] == document["targets"]["a"]["workload"]["data"] == str(tmp_path / "images")


def test_values_of_a_wrong_type_are_left_to_validation(tmp_path: Path) -> None:
    assert collect({"model": 3, "quality": {"data": 5}, "targets": [1], "workload": "x"}, tmp_path) == []


def test_the_texts_of_a_student_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").touch()
    document = {"optimize": {"distill": {"layers": 3, "data": "texts.jsonl"}}, "targets": {"a": {"optimize": {}}}}
    assert collect(document, tmp_path) == []
    assert document["optimize"]["distill"]["data"] == str(tmp_path / "texts.jsonl")
    missing = {"targets": {"a": {"optimize": {"distill": {"data": "none.jsonl"}}}}}
    assert [loc for loc, _ in collect(missing, tmp_path)] == [("targets", "a", "optimize", "distill", "data")]
