"""Turns what pydantic says of a TOML file into a message and a hint in the words of TOML."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from packc.toml.places import Loc

UNITS = {
    "ms": "milliseconds",
    "per_s": "per second",
    "minutes": "minutes",
    "mib": "MiB (1024 x 1024 bytes)",
    "gb": "GB (10^9 bytes)",
    "gb_s": "GB (10^9 bytes) a second",
    "tflops": "10^12 operations a second",
}
"""The units in keys of specs and profiles."""

_OTHER_UNITS = "us|ns|s|sec|seconds|min|hours|b|kb|kib|mb|gib|mib_s|per_min|ps|rps|qps|gflops|tops"
_UNIT = re.compile(rf"_({'|'.join(UNITS)}|{_OTHER_UNITS})$")
"""A unit at the end of a key, ours or one that people write instead."""

_KEY = "[key]"
"""What pydantic appends to the place of a mapping's bad key."""

NAME_RULE = "use up to 64 letters, digits, - and _, the first a letter or digit"

_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
}


_MEANT = {"gpu": "cuda"}
"""What people write -> what is meant, where that is no matter of spelling."""


def label_place(loc: Loc, root: type[BaseModel]) -> str:
    """The place as people write it: `[budget] latency_ms`, `[targets.edge] workload.batch.max`.

    `root` is the model of the whole file; a key outside any section is just named.
    """
    depth = 0
    field = root.model_fields.get(str(loc[0])) if loc else None
    if field and _model_of(field.annotation):
        depth = 2 if _is_mapping(field.annotation) else 1
    elif len(loc) > 1 and isinstance(loc[1], str):
        depth = 1
    table = ".".join(str(part) for part in loc[:depth])
    key = ""
    for part in loc[depth:]:
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if key else part
    return f"[{table}] {key}".rstrip() if depth else key


def points_at_key(error: ErrorDetails) -> bool:
    """Whether the mistake lies in the key (unknown, missing, badly named) and not in its value."""
    return error["type"] in ("extra_forbidden", "missing") or _KEY in error["loc"]


def is_emptied(error: ErrorDetails, errors: Iterable[ErrorDetails]) -> bool:
    """Whether an array is only said to be empty because its bad entries do not count: the mistake is theirs."""
    place = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in errors
    )


def is_misspelt(missing: ErrorDetails, errors: Iterable[ErrorDetails]) -> bool:
    """Whether a key that is said to be missing is there with a mistake in its name: one mistake, not two."""
    if missing["type"] != "missing":
        return False
    *table, name = missing["loc"]
    unknown = [other["loc"] for other in errors if other["type"] == "extra_forbidden"]
    return any([*loc[:-1]] == table and difflib.get_close_matches(str(loc[-1]), [str(name)]) for loc in unknown)


def explain(error: ErrorDetails, root: type[BaseModel]) -> tuple[str, str | None]:
    """What is wrong, and how to mend it (None where the message says it all). `root` is the model of the whole file."""
    loc, kind, value = error["loc"], error["type"], error["input"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _explain_unknown(loc, value, root)
    if _KEY in loc and kind != "literal_error":
        return f'"{value}" cannot be a name', NAME_RULE
    place = label_place(loc, root)
    if kind == "missing":
        return f"{place} is missing", _describe(loc, root)
    if kind in _WANTED:
        return f"{place} must be {_WANTED[kind]}, not {_name_type(value)}", _hint_value(loc[-1], kind, value)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        meant = _MEANT.get(str(value))
        hint = f'did you mean "{meant}"?' if meant in choices else suggest(str(value), choices)
        hint = hint or f"one of: {', '.join(choices)}"
        if _KEY in loc:
            return f'unknown key "{value}" in [{loc[0]}]', hint
        return f'{place}: "{value}" is not known' if isinstance(value, str) else f"{place} must be a string", hint
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"{place} must be {word} {context[key]:g}, not {value}", None
    if kind == "finite_number":
        return f"{place} must be a finite number, not {value}", None
    if kind in ("too_short", "string_too_short"):
        return f"{place} is empty", _describe(loc, root)
    if kind in ("string_pattern_mismatch", "string_too_long"):
        return f'{place}: "{value}" is not a usable name', NAME_RULE
    if kind == "value_error":
        return f"{place}: {context['error']}".removeprefix(": "), None
    return f"{place}: {error['msg']}", None


def suggest(word: str, known: Iterable[str]) -> str | None:
    """`did you mean ...?` when a known word is this one in other letters, begins with it or is near it, else None."""
    words = list(known)
    near = [other for other in words if other.lower() == word.lower()]
    near += [other for other in words if len(word) > 2 and other.startswith(word)]
    near += difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else None


def _explain_unknown(loc: Loc, value: object, root: type[BaseModel]) -> tuple[str, str]:
    parents, name = loc[:-1], str(loc[-1])
    model = _find_model(parents, root)
    where = f" in {label_place(parents, root)}" if parents else ""
    shown = f"section [{name}]" if not parents and isinstance(value, dict) else f'key "{name}"'
    return f"unknown {shown}{where}", _hint_unknown(name, model, root)


def _hint_unknown(name: str, model: type[BaseModel], root: type[BaseModel]) -> str:
    known = list(model.model_fields)
    for key in known:
        unit = _UNIT.search(key)
        if unit and _UNIT.sub("", name) == _UNIT.sub("", key):
            return f'did you mean "{key}"? the unit is part of the name: {UNITS[unit[1]]}'
    sections = {section: _model_of(field.annotation) for section, field in root.model_fields.items()}
    home = next((section for section, other in sections.items() if other and name in other.model_fields), None)
    if home:
        return f"write it with its section: {home}.{name}" if home in known else f'"{name}" belongs to [{home}]'
    return suggest(name, known) or f"known here: {', '.join(known)}"


def _hint_value(place: int | str, kind: str, value: object) -> str | None:
    """`place` is the last part of the value's: its key, or its index in an array."""
    if isinstance(place, int):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return f'put it in quotes: "{value}"' if kind == "string_type" and is_number else None
    key = place
    if kind in ("int_type", "int_from_float", "float_type") and isinstance(value, str):
        unit = _UNIT.search(key)
        number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(\w*)\s*", value)
        same_unit = number and number[2].lower() in ("", unit[1] if unit else "")
        named = f"; the unit is in the name: {UNITS[unit[1]]}" if unit else ""
        return f"write {key} = {number[1] if number and same_unit else '<number>'}, without quotes{named}"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'put it in quotes: {key} = "{value}"'
    if kind == "bool_type" and isinstance(value, str):
        return f"write {key} = true or {key} = false, without quotes"
    if kind == "tuple_type" and isinstance(value, str):
        return f'write {key} = ["{value}"]'
    if kind == "model_type" and key in ("batch", "sequence") and isinstance(value, int):
        return f"write {key} = {{ typical = {value}, max = {value} }}"
    return None


def _describe(loc: Loc, root: type[BaseModel]) -> str | None:
    field = _find_model(loc[:-1], root).model_fields.get(str(loc[-1]))
    return field.description if field else None


def _find_model(loc: Loc, root: type[BaseModel]) -> type[BaseModel]:
    """The model of the table at `loc`."""
    model, is_name = root, False
    for part in loc:
        if is_name:
            is_name = False
            continue
        annotation = model.model_fields[str(part)].annotation
        is_name = _is_mapping(annotation)
        model = _model_of(annotation) or model
    return model


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict


def _name_type(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, dict):
        return "a table"
    return "an array" if isinstance(value, tuple) else "a date or time"
