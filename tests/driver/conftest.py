"""The stand-in world that the tests of the build share."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver_world import World, install_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One candidate, "base"; a test adds others to `world.ways`."""
    return install_world(monkeypatch, tmp_path)
