from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from goldens import check_golden
from packc.errors import PackError, UsageError
from packc.package import publish as publishing
from packc.package.publish import exchange_folders, publish, staging_dir


def make_package(final: Path, content: str) -> None:
    with staging_dir(final) as staging:
        (staging / "manifest.json").write_text(content)
        (staging / "sub").mkdir()
        (staging / "sub/file").write_text(content)
        publish(staging, final)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two renames":
        monkeypatch.setattr(publishing, "exchange_folders", lambda one, other: False)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_publish_and_replace(tmp_path: Path) -> None:
    final = tmp_path / "build/tiny/cpu"
    make_package(final, "old")
    make_package(final, "new")
    assert (final / "sub/file").read_text() == "new"
    assert names(final.parent) == ["cpu"]


def test_a_build_that_publishes_nothing_leaves_nothing(tmp_path: Path) -> None:
    with staging_dir(tmp_path / "build/tiny/cpu") as staging:
        (staging / "half").touch()
    assert names(tmp_path) == []


def test_a_failed_build_leaves_the_last_good_package(tmp_path: Path) -> None:
    final = tmp_path / "cpu"
    make_package(final, "old")
    with pytest.raises(KeyboardInterrupt), staging_dir(final):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["cpu"]
    assert (final / "sub/file").read_text() == "old"


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackError) as caught, staging_dir(Path("build/cpu")) as staging:
        raise OSError(errno.ENOSPC, "No space left on device", "cache/model.onnx")  # the file that was copied
    assert not staging.exists()
    assert caught.value.exit_code == 1
    assert names(tmp_path) == []
    check_golden("package/errors/disk_full.txt", caught.value.render() + "\n")


def test_other_system_errors_are_not_explained_away(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError), staging_dir(tmp_path / "cpu"):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")


def test_places_that_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    Path("link").symlink_to("mine")
    texts = []
    for place in ("file", "file/cpu", "mine", "link"):
        with pytest.raises(UsageError) as caught, staging_dir(Path(place)):
            pass
        texts.append(caught.value.render())
    check_golden("package/errors/places.txt", "\n---\n".join(texts) + "\n")
    assert names(tmp_path) == ["file", "link", "mine"]


def test_a_file_system_that_takes_no_folders() -> None:
    with pytest.raises(UsageError, match="/proc is not writable"), staging_dir(Path("/proc/build/cpu")):
        pass


def test_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "build")

    monkeypatch.setattr(publishing.tempfile, "mkdtemp", refuse)
    with pytest.raises(UsageError, match="build is not writable"), staging_dir(tmp_path / "build/cpu"):
        pass


def test_an_empty_folder_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    make_package(tmp_path / "cpu", "new")
    assert (tmp_path / "cpu/sub/file").read_text() == "new"


def _build_and_die(final: Path, moment: str) -> None:
    """A build that is killed at `moment`."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "while staging":
        with staging_dir(final) as staging:
            (staging / "half").touch()
            die()
    elif moment == "before the exchange":
        publishing.exchange_folders = die  # type: ignore[assignment]
    elif moment == "after the exchange":
        publishing.shutil.rmtree = die  # type: ignore[assignment]
    elif moment == "between two renames":
        publishing.exchange_folders = lambda one, other: False
        rename = Path.rename

        def rename_once(self: Path, target: Path) -> Path:
            moved = rename(self, target)
            die()
            return moved

        Path.rename = rename_once  # type: ignore[assignment, method-assign]
    make_package(final, "half-published")


@pytest.mark.parametrize(
    "moment", ["while staging", "before the exchange", "after the exchange", "between two renames"]
)
def test_a_killed_build_is_mended_by_the_next(tmp_path: Path, moment: str) -> None:
    final = tmp_path / "cpu"
    make_package(final, "old")
    child = multiprocessing.get_context("fork").Process(target=_build_and_die, args=(final, moment))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    if moment != "between two renames":
        assert (final / "sub/file").read_text() in ("old", "half-published")
    with staging_dir(final):
        expected = "half-published" if moment == "after the exchange" else "old"
        assert (final / "sub/file").read_text() == expected
    assert names(tmp_path) == ["cpu"]
    make_package(final, "new")
    assert (final / "sub/file").read_text() == "new"
    assert names(tmp_path) == ["cpu"]


def _build_slowly(final: Path, content: str) -> None:
    with staging_dir(final) as staging:
        (staging / "manifest.json").write_text(content)
        time.sleep(0.3)
        publish(staging, final)


def test_two_builds_at_once(tmp_path: Path) -> None:
    final = tmp_path / "cpu"
    context = multiprocessing.get_context("fork")
    builds = [context.Process(target=_build_slowly, args=(final, str(i))) for i in range(4)]
    for build in builds:
        build.start()
    for build in builds:
        build.join(30)
    assert [build.exitcode for build in builds] == [0] * 4
    assert (final / "manifest.json").read_text() in "0123"
    assert names(tmp_path) == ["cpu"]


def test_exchange(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange_folders(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system cannot exchange folders")
    assert names(tmp_path / "one") == ["other"]
    with pytest.raises(FileNotFoundError):
        exchange_folders(tmp_path / "one", tmp_path / "nowhere")
