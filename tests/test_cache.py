from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from packc.cache import IN_USE_S, Cache, cache_key
from packc.errors import UsageError

MAKE_SLOWLY = """
import sys, time
from pathlib import Path
from packc.cache import Cache

def make(folder):
    (folder / "half").write_text("")
    print("making", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "whole").write_text("")

print(Cache(Path(sys.argv[1])).get_or_make("graph", "k", make), flush=True)
"""


def put(cache: Cache, key: str, mib: int = 1, *, age_s: float = 0.0) -> Path:
    path = cache.get_or_make("graph", key, lambda folder: (folder / "f").write_bytes(bytes(mib * 2**20)) and None)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def start_making(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE_SLOWLY, str(root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_work_is_done_once_and_a_hit_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    calls: list[Path] = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "out").write_text("done")

    first = cache.get_or_make("graph", "k", make)
    with caplog.at_level(logging.INFO):
        second = cache.get_or_make("graph", "k", make)
        assert caplog.messages == [], "nobody was told of it when it was made"
        cache.get_or_make("graph", "k", make, reused="minilm: exported before")
    assert first == second == cache.find("graph", "k") == tmp_path / "graph" / "k"
    assert (first / "out").read_text() == "done"
    assert len(calls) == 1
    assert caplog.messages == ["minilm: exported before"]


def test_a_failed_attempt_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_make("graph", "k", fail)
    assert cache.find("graph", "k") is None
    assert [path for path in (tmp_path / "graph").iterdir() if path.is_dir()] == []
    assert (put(cache, "k") / "f").is_file()


def test_a_hit_makes_an_entry_young(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "a", age_s=200)
    put(cache, "b", age_s=100)
    assert [entry.key for entry in cache.entries()] == ["a", "b"]
    assert cache.find("graph", "a")
    assert [entry.key for entry in cache.entries()] == ["b", "a"]
    os.utime(tmp_path / "graph" / "a", (time.time() - 50,) * 2)  # clocks of file systems are coarse
    cache.get_or_make("graph", "b", lambda folder: None)
    assert [entry.key for entry in cache.entries()] == ["a", "b"]
    os.utime(tmp_path / "graph" / "b", (time.time() - 25,) * 2)
    cache.get_or_make("graph", "a", lambda folder: None)
    assert [entry.key for entry in cache.entries()] == ["b", "a"]


def test_garbage_is_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for key, age_s in (("new", 0), ("old", 200), ("middle", 100)):
        put(cache, key, mib=2, age_s=age_s)
    removed = cache.collect_garbage(cap_gib=5 / 1024)
    assert [(entry.key, entry.size_bytes) for entry in removed] == [("old", 2 * 2**20)]
    assert [entry.key for entry in cache.entries()] == ["middle", "new"]


def test_what_another_build_may_be_reading_is_spared(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "old", age_s=2 * IN_USE_S)
    put(cache, "recent", age_s=IN_USE_S / 2)
    assert [entry.key for entry in cache.collect_garbage(0, spare_s=IN_USE_S)] == ["old"]
    assert [entry.key for entry in cache.collect_garbage(0)] == ["recent"]


def test_the_cap_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Cache(tmp_path), "a")
    assert Cache(tmp_path).collect_garbage() == []
    monkeypatch.setenv("PACK_CACHE_GIB", "0")
    assert len(Cache(tmp_path).collect_garbage()) == 1


def test_the_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("PACK_CACHE_DIR", raising=False)
    assert Cache().root == tmp_path / "xdg" / "packc"
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "own"))
    assert Cache().root == tmp_path / "own"
    assert Cache().entries() == []


def test_two_builds_share_one_piece_of_work(tmp_path: Path) -> None:
    first = start_making(tmp_path, 1.0)
    assert read_line(first) == "making"
    second = start_making(tmp_path, 1.0)
    assert read_line(second) == str(tmp_path / "graph" / "k")
    assert first.wait() == second.wait() == 0
    assert (tmp_path / "graph" / "k" / "whole").is_file()


def test_a_killed_build_leaves_debris_that_nobody_trips_over(tmp_path: Path) -> None:
    victim = start_making(tmp_path, 60)
    assert read_line(victim) == "making"
    cache = Cache(tmp_path)
    cache.collect_garbage()
    staging = list((tmp_path / "graph").glob(".k-*"))
    assert len(staging) == 1, "work in progress is no garbage"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert cache.find("graph", "k") is None
    assert cache.entries() == []
    assert (put(cache, "k") / "f").is_file()
    cache.collect_garbage()
    assert not staging[0].exists()


def test_what_a_killed_build_left_goes_before_the_work_is_done_again(tmp_path: Path) -> None:
    victim = start_making(tmp_path, 60)
    assert read_line(victim) == "making"
    other = tmp_path / "graph" / ".other-abandoned"
    other.mkdir()
    victim.kill()
    victim.wait()
    put(Cache(tmp_path), "k")
    assert {path for path in (tmp_path / "graph").iterdir() if path.is_dir()} == {other, tmp_path / "graph" / "k"}


def test_what_does_not_last_is_its_makers_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    make = lambda folder: (folder / "f").touch()  # noqa: E731
    first, second = (cache.get_or_make("graph", "k", make, lambda _: False) for _ in range(2))
    assert first != second
    assert (first / "f").is_file()
    assert (second / "f").is_file()
    assert cache.find("graph", "k") is None
    assert {entry.path for entry in cache.entries()} == {first, second}, "so that collecting garbage ends them"


def test_keys_depend_on_the_parts_alone() -> None:
    assert cache_key(a=1, b=[1, 2]) == cache_key(b=[1, 2], a=1)
    assert cache_key(a=1) != cache_key(a="1")
    assert cache_key(path=Path("x")) == cache_key(path="x")
    assert len(cache_key()) == 32


def test_a_root_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"the cache at .*file cannot be written: Not a directory") as caught:
        put(Cache(tmp_path / "file"), "k")
    assert caught.value.hint == "name a folder of yours with PACK_CACHE_DIR"


@pytest.mark.parametrize("size", ["lots", "-1", "nan"])
def test_a_cap_that_is_no_size_is_refused_at_once(size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_CACHE_GIB", size)
    with pytest.raises(UsageError, match=f"PACK_CACHE_GIB is '{size}', which is not a size"):
        Cache(tmp_path)
