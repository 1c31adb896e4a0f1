"""A spec file -> Spec, or every mistake in it at once, in file order."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from packc.errors import Diagnostic, SpecError
from packc.spec.groups import check_groups
from packc.spec.model import Spec
from packc.spec.paths import resolve_paths
from packc.spec.resolve import resolve_target
from packc.toml.file import TomlFile, in_file_order, read_toml
from packc.toml.places import Loc, Places


def read_spec(path: Path) -> Spec:
    """Reads and checks the spec at `path`; the paths in it come back absolute.

    Raises SpecError with one diagnostic a mistake: TOML syntax, keys, types, ranges, files that do not exist,
    overrides that contradict the common sections.
    """
    file = read_toml(path, SpecError)
    mistakes: list[Diagnostic] = []

    def report(loc: Loc, message: str, hint: str | None) -> None:
        mistakes.append(Diagnostic(message, file.places.find_value(loc), hint))

    resolve_paths(file.data, path.resolve().parent, report)
    check_groups(file.data, report)
    spec = file.validate(Spec)
    mistakes += spec if isinstance(spec, list) else _check_targets(spec, file)
    if mistakes or isinstance(spec, list):
        raise SpecError(*in_file_order(mistakes))
    return spec


def read_places(path: Path) -> Places:
    """Where everything stands in the spec at `path`, for mistakes that show only when a target is known.

    Raises SpecError where it is no TOML any more.
    """
    folder = Path.cwd()
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return read_toml(shown, SpecError).places


def _check_targets(spec: Spec, file: TomlFile) -> list[Diagnostic]:
    """Mistakes that show only when a target's overrides meet the common values."""
    mistakes = []
    for name in spec.targets:
        try:
            resolve_target(spec, name)
        except ValidationError as failure:
            mistakes += file.diagnose(failure, Spec, below=("targets", name))
    return mistakes
