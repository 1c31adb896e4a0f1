from __future__ import annotations

from pathlib import Path

import pytest

from packc import resources
from packc.resources import resource_dir


def test_a_checkout_has_its_folders_at_the_top() -> None:
    assert (resource_dir("targets") / "nvidia-l4.toml").is_file()
    assert (resource_dir("templates") / "spec.toml.j2").is_file()


def test_a_wheel_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "packc"
    (package / "_data" / "targets").mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resource_dir("targets") == package / "_data" / "targets"
    with pytest.raises(FileNotFoundError, match="reinstall packc"):
        resource_dir("templates")
