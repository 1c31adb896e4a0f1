"""A TOML file with the places of its keys and values, and its validation by a pydantic model."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from packc.errors import DiagnosedError, Diagnostic, Span
from packc.toml.explain import explain, is_emptied, is_misspelt, points_at_key, suggest
from packc.toml.places import Loc, Places, locate

Model = TypeVar("Model", bound=BaseModel)

_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_SYNTAX_HINTS = {
    "illegal character '\\n'": "close the string with a quote",
    "invalid value": 'text needs quotes: "like this"',
    "cannot overwrite a value": "the key stands there already",
}


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A parsed file; arrays are tuples."""

    data: dict[str, Any]
    places: Places

    def validate(self, model: type[Model]) -> Model | list[Diagnostic]:
        """`data` as a `model`, or one diagnostic a mistake, in the model's order."""
        try:
            return model.model_validate(self.data)
        except ValidationError as failure:
            return self.diagnose(failure, model)

    def diagnose(self, failure: ValidationError, model: type[BaseModel], below: Loc = ()) -> list[Diagnostic]:
        """The mistakes of `failure`, which concerns the part of the file at `below`; `model` is the whole file's."""
        found = []
        errors = failure.errors(include_url=False)
        for error in errors:
            if is_misspelt(error, errors) or is_emptied(error, errors):
                continue
            loc = (*below, *error["loc"])
            span = self.places.find_key(loc) if points_at_key(error) else self.places.find_value(loc)
            message, hint = explain({**error, "loc": loc}, model)
            found.append(Diagnostic(message, span, hint))
        return found


def read_toml(path: Path, error: type[DiagnosedError]) -> TomlFile:
    """Reads the file at `path`. Raises `error` when it is not there, not text or not TOML."""
    text = _read_text(path, error)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise error(_diagnose_syntax(str(failure), path, text)) from None
    return TomlFile({key: _freeze_arrays(value) for key, value in data.items()}, locate(path, text))


def in_file_order(mistakes: list[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics sorted by line and column; those without a place come first."""
    return sorted(mistakes, key=lambda d: (d.span.line, d.span.column) if d.span else (0, 0))


def resolve_path(folder: Path, value: str) -> Path:
    """`value`, a path in a file of `folder`, as an absolute path; `~` stands for the home folder."""
    try:
        return (folder / Path(value).expanduser()).resolve()
    except (RuntimeError, ValueError):  # no such user, or a character that no path has: nothing is there
        return folder / value


def _read_text(path: Path, error: type[DiagnosedError]) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise error(Diagnostic(f"{path}: no such file", hint=_hint_missing(path))) from None
    except IsADirectoryError:
        raise error(Diagnostic(f"{path} is a folder, not a TOML file", hint=_hint_missing(path))) from None
    except UnicodeDecodeError as failure:
        line = failure.object.count(b"\n", 0, failure.start) + 1
        raise error(Diagnostic(f"{path}:{line} is not text in UTF-8", hint="save it as UTF-8")) from None
    except (OSError, ValueError) as failure:
        raise error(Diagnostic(f"{path} cannot be read: {failure}")) from None


def _hint_missing(path: Path) -> str | None:
    folder = path if path.is_dir() else path.parent
    names = sorted(file.name for file in folder.glob("*.toml")) if folder.is_dir() else []
    return f'did you mean "{names[0]}"?' if len(names) == 1 else suggest(path.name, names)


def _diagnose_syntax(message: str, path: Path, text: str) -> Diagnostic:
    place = _SYNTAX_PLACE.search(message)
    lines = text.rstrip("\n").split("\n")
    line, column = (int(place[1]), int(place[2])) if place and place[1] else (len(lines), len(lines[-1]) + 1)
    shown = lines[line - 1].replace("\t", " ") if line <= len(lines) else ""
    what = message[: place.start()] if place else message
    what = what[0].lower() + what[1:]
    return Diagnostic(f"not valid TOML: {what}", Span(path, line, column, text=shown), _SYNTAX_HINTS.get(what))


def _freeze_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _freeze_arrays(below) for key, below in value.items()}
    return tuple(_freeze_arrays(below) for below in value) if isinstance(value, list) else value
