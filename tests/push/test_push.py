from __future__ import annotations

from pathlib import Path

import pytest

from packc.errors import MissingError, PackError, PushError, UsageError
from packc.push import push
from packc.push.push import push_package
from packc.push.release import Pushed, Release
from served_packages import write_tensor_package


class Shelf:
    """A destination that fails with `error`, if it is given one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def accepts(self, destination: str) -> bool:
        return destination == "shelf"

    def push(self, release: Release, destination: str) -> Pushed:
        if self.error:
            raise self.error
        return Pushed(3, (release.name,), 0)


def test_the_kind_that_accepts_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "DESTINATIONS", (Shelf(),))
    result = push_package(write_tensor_package(tmp_path / "package"), "shelf")
    assert (result.destination, result.model, result.version, result.models) == ("shelf", "tiny", 3, ("tiny",))


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'s3://bucket' is no place that pack can push to") as caught:
        push_package(tmp_path, "s3://bucket")
    assert "http://HOST:8000" in (caught.value.hint or "")


@pytest.mark.parametrize("error", [MissingError("no server answers"), OSError(28, "No space left"), PackError("no")])
def test_every_failure_is_a_failed_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(push, "DESTINATIONS", (Shelf(error),))
    with pytest.raises(PushError, match="shelf did not take 'tiny': ") as caught:
        push_package(write_tensor_package(tmp_path / "package"), "shelf")
    assert caught.value.exit_code == 6
