from __future__ import annotations

import json
from pathlib import Path

import pytest

from packc.cache import Cache
from packc.cli.main import run


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path))
    cache = Cache()
    for key in ("a", "b"):
        cache.get_or_make("graph", key * 32, lambda folder: (folder / "f").write_bytes(bytes(2**20)) and None)
    return cache


def test_ls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["cache", "ls"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == ["graph", "a" * 12, "1.0", "just", "now"]
    assert err == f"2 entries, 2.0 MiB in {tmp_path}\n"


def test_gc_keeps_to_the_cap(capsys: pytest.CaptureFixture[str], store: Cache) -> None:
    assert run(["cache", "gc", "--cap-gib", "0.001", "--json"]) == 0
    removed = json.loads(capsys.readouterr().out)["removed"]
    assert [(entry["kind"], entry["key"]) for entry in removed] == [("graph", "a" * 32)]
    assert [entry.key for entry in store.entries()] == ["b" * 32]


def test_gc_refuses_a_negative_cap(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "gc", "--cap-gib", "-1"]) == 2
    assert "--cap-gib" in capsys.readouterr().err
