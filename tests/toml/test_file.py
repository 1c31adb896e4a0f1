from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from packc.errors import Diagnostic, ProfileError, Span, SpecError
from packc.toml.file import in_file_order, read_toml, resolve_path


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    width: int
    names: tuple[str, ...] = ()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "shape.toml"
    path.write_bytes(content)
    return path


def test_reads_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    file = read_toml(write(tmp_path, b"\xef\xbb\xbfwidth = 1\r\nnames = ['a', 2]\r\n"), SpecError)
    mistakes = file.validate(Shape)
    assert isinstance(mistakes, list)
    assert mistakes[0].span == Span(tmp_path / "shape.toml", 2, 15, 1, "names = ['a', 2]")


def test_arrays_become_tuples(tmp_path: Path) -> None:
    shape = read_toml(write(tmp_path, b"width = 1\nnames = ['a']"), SpecError).validate(Shape)
    assert shape == Shape(width=1, names=("a",))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", ":1 is not text in UTF-8"), (b"a = ", "not valid TOML: invalid value")],
)
def test_unreadable_content_raises_the_given_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ProfileError) as failure:
        read_toml(write(tmp_path, content), ProfileError)
    assert message in str(failure.value)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    write(tmp_path, b"")
    with pytest.raises(SpecError, match="is a folder") as failure:
        read_toml(tmp_path, SpecError)
    assert failure.value.diagnostics[0].hint == 'did you mean "shape.toml"?'


def test_file_order_puts_the_placeless_first() -> None:
    here = Diagnostic("here", Span(Path("f"), 2, 9))
    before = Diagnostic("before", Span(Path("f"), 2, 1))
    nowhere = Diagnostic("nowhere")
    assert in_file_order([here, before, nowhere]) == [nowhere, before, here]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    assert resolve_path(tmp_path, "a/../b") == tmp_path / "b"
    assert resolve_path(tmp_path, "/x") == Path("/x")
    assert resolve_path(tmp_path, "~/x") == Path.home() / "x"


@pytest.mark.parametrize("value", ["~no-such-user/x", "a\0b"])
def test_a_path_that_cannot_be_leads_nowhere(tmp_path: Path, value: str) -> None:
    assert not resolve_path(tmp_path, value).exists()
    with pytest.raises(SpecError):
        read_toml(resolve_path(tmp_path, value), SpecError)
