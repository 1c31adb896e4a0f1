from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from packc.candidate import PassStep
from packc.child import FAILURE_FILE
from packc.errors import PackError
from packc.runtimes.compile import CompileRequest
from packc.runtimes.compile_worker import main


def write_request(folder: Path) -> Path:
    request = CompileRequest("a_compiler", folder / "model.onnx", PassStep("x"), None, folder / "c.npz", folder)
    path = folder / "request.json"
    path.write_bytes(TypeAdapter(CompileRequest).dump_json(request))
    return path


def test_the_compilers_remarks_lie_beside_its_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("a_compiler")
    module.compile_model = lambda request: (request.step.name,)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_compiler", module)
    assert main(write_request(tmp_path)) == 0
    assert (tmp_path / "remarks.json").read_text() == '["x"]'


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PackError("no such\nlayer"), "no such layer"),
        (MemoryError(), "there is not enough memory"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_a_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    def fail(request: CompileRequest) -> tuple[str, ...]:
        raise error

    module = types.ModuleType("a_compiler")
    module.compile_model = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_compiler", module)
    assert main(write_request(tmp_path)) == 1
    assert (tmp_path / FAILURE_FILE).read_text() == words
