from __future__ import annotations

from pathlib import Path

import pytest

from goldens import check_golden
from lint_cases import write_repository
from packc.package.lint.repository import LintedModel, read_repository


def read(folder: Path, config: str) -> LintedModel:
    models, _ = read_repository(write_repository(folder, {"m": config}))
    return models["m"]


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("unknown_field", 'name: "m"\n  max_batchsize: 8\n'),
        ("parameter_without_message", 'parameters { key: "a" value:"1" }\n'),
        ("bad_enum", "instance_group [ { kind: KIND_TPU } ]\n"),
        ("two_schedulers", "dynamic_batching { }\nsequence_batching { }\n"),
        ("unclosed", 'input [ { name: "x" }\n'),
    ],
)
def test_syntax_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, config: str) -> None:
    monkeypatch.chdir(tmp_path)
    models, problems = read_repository(write_repository(Path("repository"), {"m": config}))
    assert not models
    check_golden(f"package/lint/{name}.txt", problems[0].render() + "\n")


def test_a_model_without_configuration(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").touch()
    models, problems = read_repository(tmp_path)
    assert not models
    assert [problem.message for problem in problems] == [f"{tmp_path / 'm'} has no config.pbtxt"]


def test_not_text(tmp_path: Path) -> None:
    write_repository(tmp_path, {}, {"m/config.pbtxt": b"\xff\xfe"})
    assert "is not UTF-8 text" in read_repository(tmp_path)[1][0].message


def test_model(tmp_path: Path) -> None:
    model = read(tmp_path, 'platform: "onnxruntime_onnx"\nparameters { key: "a" value { string_value: "1" } }')
    for name in ("2", "10", "01", "x"):
        (model.folder / name).mkdir()
    assert (model.name, model.backend, model.is_ensemble, model.is_batched) == ("m", "onnxruntime", False, False)
    assert [path.name for path in model.versions()] == ["1", "2", "10"]
    assert (model.parameter("a"), model.parameter("b")) == ("1", "")


def test_diagnostics_of_unwritten_fields_point_to_the_start(tmp_path: Path) -> None:
    span = read(tmp_path, "").warning(("name",), "m").span
    assert span is not None
    assert (span.line, span.column, span.text) == (1, 1, "")
