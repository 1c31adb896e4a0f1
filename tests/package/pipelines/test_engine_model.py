"""The Python model with stand-ins for Triton's side and for the engine; e2e/test_aotinductor.py runs it in Triton."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend_stub import Request, import_backend, make_config, rows
from packc.package.pipelines.tensors import ENGINE_MODEL
from served_packages import WIDTH

ENGINE = """
calls = []

def load(model, options, threads):
    with open(model) as file:
        return float(file.read()) * options["times"] * threads

def run(session, inputs):
    calls.append(len(inputs["x"]))
    if inputs["x"].shape[-1] != 4:
        raise ValueError("wrong width")
    return {"y": inputs["x"] * session}
"""


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shutil.copy(ENGINE_MODEL, tmp_path / "model.py")
    (tmp_path / "engine.py").write_text(ENGINE)
    (tmp_path / "model.txt").write_text("2")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "engine", raising=False)
    yield import_backend(tmp_path / "model.py", monkeypatch)
    sys.modules.pop("engine", None)


def load(backend: Any, **changes: Any) -> Any:
    values = {"model": "model.txt", "threads": "1", "engine_options": json.dumps({"times": 1})}
    parameters = {name: {"string_value": value} for name, value in values.items()}
    model = backend.TritonPythonModel()
    model.initialize({"model_config": json.dumps(make_config(parameters=parameters, **changes))})
    return model


def test_requests_of_one_batch_share_a_call_and_part_again(backend: Any) -> None:
    responses = load(backend).execute([Request(x=rows(1)), Request(x=rows(2, 3)), Request(x=rows(4))])
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2], [4, 6], [8]]
    assert backend.engine.calls == [4]


def test_a_request_that_fails_fails_alone(backend: Any) -> None:
    good, bad = load(backend).execute([Request(x=rows(1)), Request(x=np.zeros((1, WIDTH + 1), np.float32))])
    assert good.outputs["y"][0, 0] == 2
    assert "ValueError: wrong width" in str(bad.error)


def test_without_batching_each_request_is_a_call(backend: Any) -> None:
    responses = load(backend, max_batch_size=0).execute([Request(x=rows(1, 2)), Request(x=rows(3))])
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2, 4], [6]]
    assert backend.engine.calls == [2, 1]


def test_only_what_is_asked_for_is_sent(backend: Any) -> None:
    (response,) = load(backend).execute([Request(outputs=(), x=rows(1))])
    assert response.outputs == {}
