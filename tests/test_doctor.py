from __future__ import annotations

import sys

import pytest

from packc import doctor
from packc.doctor import examine
from packc.errors import MissingError


def test_a_server_that_is_named_wrongly_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MissingError("PACK_TRITON_SERVER names /nope")

    monkeypatch.setattr(doctor, "find_server", fail)
    health = examine()
    assert health.server is None
    assert health.server_problem == "PACK_TRITON_SERVER names /nope"
    assert "PACK_TRITON_SERVER names /nope" in health.needs[0].missing
    assert not health.is_ready


def test_every_kind_of_target_is_spoken_of() -> None:
    assert [need.kind for need in examine().needs] == ["cpu", "cuda", "jetson", "neuron"]


def test_examining_imports_none_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert {library.name for library in examine().libraries} >= {"torch", "onnxruntime", "tritonclient"}
