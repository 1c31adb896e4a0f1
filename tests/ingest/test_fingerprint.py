from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from packc.ingest import fingerprint
from packc.ingest.fingerprint import fingerprint_files, hash_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    for name in ("a", "b"):
        (tmp_path / "model" / name).write_text(name)
    return tmp_path / "model"


def test_hash_is_sha256(folder: Path) -> None:
    assert hash_file(folder / "a") == hashlib.sha256(b"a").hexdigest()


def test_order_does_not_matter_and_names_and_contents_do(folder: Path) -> None:
    first = fingerprint_files([folder / "a", folder / "b"], folder)
    assert fingerprint_files([folder / "b", folder / "a"], folder) == first
    (folder / "a").write_text("b")
    (folder / "b").write_text("a")
    assert fingerprint_files([folder / "a", folder / "b"], folder) != first


def test_second_look_reads_no_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint_files([folder / "a"], folder)
    monkeypatch.setattr(fingerprint, "hash_file", lambda path: pytest.fail(f"read {path} again"))
    assert fingerprint_files([folder / "a"], folder) == first


def test_changed_file_of_equal_size_is_read_again(folder: Path) -> None:
    first = fingerprint_files([folder / "a"], folder)
    (folder / "a").write_text("x")
    os.utime(folder / "a", ns=(1, 1))
    assert fingerprint_files([folder / "a"], folder) != first


def test_a_damaged_memo_only_costs_time(folder: Path, tmp_path: Path) -> None:
    first = fingerprint_files([folder / "a"], folder)
    (tmp_path / "cache" / "hashes.json").write_text("{")
    assert fingerprint_files([folder / "a"], folder) == first


def test_a_cache_that_cannot_be_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert fingerprint_files([folder / "a"], folder)
