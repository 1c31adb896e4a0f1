from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from packc.errors import PushError
from packc.package.manifest_file import hash_files
from packc.push import folder
from packc.push.folder import RepositoryFolder
from packc.push.release import read_release
from served_packages import read_config, write_tensor_package, write_text_package


def push(package: Path, repository: Path) -> tuple[int, tuple[str, ...]]:
    pushed = RepositoryFolder().push(read_release(package), str(repository))
    return pushed.version, pushed.models


def names(repository: Path) -> set[str]:
    return {path.name for path in repository.iterdir()}


def test_folders_are_paths_and_not_addresses() -> None:
    accepts = RepositoryFolder().accepts
    assert accepts("models")
    assert accepts("/srv/models")
    assert not accepts("http://host:8000")
    assert not accepts("s3://bucket/models")


def test_a_repository_is_made_and_updated(tmp_path: Path) -> None:
    repository = tmp_path / "new" / "models"
    version, first = push(write_text_package(tmp_path / "one"), repository)
    assert version == 1
    assert names(repository) == set(first)
    assert first[-1] == "letters"
    assert [path.name for path in repository.parent.iterdir()] == ["models"], "nothing is left beside it"

    version, second = push(write_text_package(tmp_path / "two", scale=3.0, promised=3.0), repository)
    assert version == 2
    assert len(second) == 2, "the tokenizer did not change"
    steps = {step.model_name for step in read_config(repository / "letters").ensemble_scheduling.step}
    assert names(repository) == steps | {"letters"}, "members that nothing uses are gone"
    assert (repository / "letters" / "2").is_dir()
    assert not (repository / "letters" / "1").exists()


@pytest.mark.parametrize("write", [write_tensor_package, write_text_package])
def test_the_same_package_again_changes_nothing(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    repository = tmp_path / "models"
    assert push(write(tmp_path / "one"), repository)[0] == 1
    times = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert push(write(tmp_path / "two"), repository) == (1, ())
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == times, "a server in poll mode rests"


def test_whatever_differs_makes_a_new_version(tmp_path: Path) -> None:
    package, repository = write_text_package(tmp_path / "package"), tmp_path / "models"
    push(package, repository)
    (repository / "letters" / "config.pbtxt").write_text('name: "letters"\n')
    assert push(package, repository)[0] == 2
    (repository / "letters" / "2" / "more.txt").touch()
    assert push(package, repository)[0] == 3
    member = next(path for path in repository.iterdir() if path.name.startswith("letters-"))
    shutil.rmtree(member)
    assert push(package, repository) == (4, (member.name, "letters"))


def test_other_models_are_not_touched(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    (repository / "others" / "1").mkdir(parents=True)
    (repository / "others" / "config.pbtxt").write_text("name: 'others'")
    before = hash_files(repository / "others")
    push(write_text_package(tmp_path / "one"), repository)
    push(write_text_package(tmp_path / "two", scale=3.0, promised=3.0), repository)
    assert hash_files(repository / "others") == before


@pytest.mark.parametrize("failing", ["_write_model", "_replace", "_sync"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    repository = tmp_path / "models"
    push(write_text_package(tmp_path / "one"), repository)
    before = hash_files(repository)
    second = write_text_package(tmp_path / "two", scale=3.0, promised=3.0)

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        push(second, repository)
    assert hash_files(repository) == before
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()


def test_a_file_system_that_cannot_exchange_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "exchange_folders", lambda one, other: False)
    push(write_tensor_package(tmp_path / "one"), tmp_path / "models")
    other = write_tensor_package(tmp_path / "two", scale=3.0, promised=3.0)
    assert push(other, tmp_path / "models")[0] == 2
    assert names(tmp_path / "models") == {"tiny"}, "the old one is gone once the new one is there"
    assert [path.name for path in (tmp_path / "models" / "tiny").iterdir() if path.is_dir()] == ["2"]


def test_a_push_killed_between_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models"
    push(write_tensor_package(tmp_path / "one"), repository)
    before = hash_files(repository / "tiny")
    (repository / "tiny").rename(repository / ".tiny.previous")

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    package = write_tensor_package(tmp_path / "two", scale=3.0, promised=3.0)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "_write_model", fail)
        with pytest.raises(OSError, match="No space left"):
            push(package, repository)
    assert hash_files(repository / "tiny") == before, "it is brought back before anything else"
    shutil.copytree(repository / "tiny", repository / ".tiny.previous")
    assert push(package, repository)[0] == 2
    assert names(repository) == {"tiny"}


def test_a_killed_push_is_swept(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    push(write_tensor_package(tmp_path / "one"), repository)
    debris = tmp_path / ".pack-push-models-dead"
    shutil.copytree(repository, debris)
    push(write_tensor_package(tmp_path / "two"), repository)
    assert not debris.exists()


def test_places_that_are_no_repository(tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "package")
    (tmp_path / "file").touch()
    with pytest.raises(PushError, match="is a file"):
        push(package, tmp_path / "file")
    with pytest.raises(PushError, match="is a package of pack") as caught:
        push(package, package)
    assert "model_repository" in (caught.value.hint or "")
    with pytest.raises(PushError, match="cannot be made"):
        push(package, tmp_path / "file" / "models")
