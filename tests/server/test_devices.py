from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gpu_packages import write_gpu_repository
from packc.errors import MissingError
from packc.server import devices
from packc.server.devices import require_gpu
from served_packages import write_text_package


def test_a_model_for_a_gpu_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = write_gpu_repository(tmp_path / "gpu", 2.0)
    monkeypatch.setattr(devices, "find_gpu", lambda: None)
    with pytest.raises(
        MissingError, match="the model tiny runs on an NVIDIA GPU, and there is no NVIDIA GPU"
    ) as caught:
        require_gpu(repository)
    assert caught.value.exit_code == 5
    assert "--url" in (caught.value.hint or "")
    monkeypatch.setattr(devices, "find_gpu", lambda: SimpleNamespace(name="NVIDIA L4"))
    require_gpu(repository)


def test_models_for_a_cpu_need_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_gpu", lambda: None)
    require_gpu(write_text_package(tmp_path / "text") / "model_repository")
