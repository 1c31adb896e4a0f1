from __future__ import annotations

from pathlib import Path

import pytest

from packc.cache import Cache
from packc.errors import MissingError
from packc.server import environment
from packc.server.environment import find_server, require_server


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PACK_TRITON_SERVER", "PACK_TRITON_BACKENDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(environment, "_CONTAINER_SERVER", tmp_path / "opt" / "tritonserver")


def make_server(root: Path) -> Path:
    executable = root / "bin" / "tritonserver"
    executable.parent.mkdir(parents=True)
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    (root / "backends").mkdir()
    return executable


def test_none_is_told_with_a_way_out(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert find_server(cache) is None
    with pytest.raises(MissingError, match="no Triton server") as caught:
        require_server(cache)
    assert "pack doctor --install server" in (caught.value.hint or "")


def test_the_named_server_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = make_server(tmp_path / "mine")
    monkeypatch.setenv("PACK_TRITON_SERVER", str(executable))
    server = find_server(Cache(tmp_path / "cache"))
    assert server is not None
    assert (server.executable, server.backends, server.caches) == (executable, tmp_path / "mine" / "backends", None)
    assert server.origin == "PACK_TRITON_SERVER"
    (tmp_path / "others").mkdir()
    monkeypatch.setenv("PACK_TRITON_BACKENDS", str(tmp_path / "others"))
    server = find_server(Cache(tmp_path / "cache"))
    assert server is not None
    assert server.backends == tmp_path / "others"


@pytest.mark.parametrize("missing", ["executable", "backends"])
def test_a_named_server_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    executable = make_server(tmp_path / "mine")
    if missing == "executable":
        executable.chmod(0o644)
    monkeypatch.setenv("PACK_TRITON_SERVER", str(executable))
    monkeypatch.setenv("PACK_TRITON_BACKENDS", str(tmp_path / "nowhere"))
    with pytest.raises(MissingError, match="not an executable" if missing == "executable" else "nowhere"):
        find_server(Cache(tmp_path / "cache"))


def test_one_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = make_server(tmp_path / "opt-triton")
    monkeypatch.setenv("PATH", str(executable.parent))
    server = find_server(Cache(tmp_path / "cache"))
    assert server is not None
    assert (server.executable, server.origin) == (executable, "PATH")
    assert str(server) == f"{executable} (PATH)"
