"""Model repositories for the linter's tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packc.errors import Diagnostic
from packc.package.lint.repository import read_repository
from packc.package.lint.rule import Rule

TENSORS = """input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]
"""
"""One input and one output."""


@dataclass(frozen=True)
class Case:
    """A rule, a config.pbtxt that breaks it, what is said where, and a text that mends it."""

    rule: Rule
    bad: str
    message: str
    at: str
    """`line:column` in the bad text."""
    good: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.rule.__name__}: {self.message}"


Files = Mapping[str, str | bytes]


def write_repository(folder: Path, configs: Mapping[str, str], files: Files | None = None) -> Path:
    """Models by name, each with an empty version 1; `files` by path below `folder`."""
    for name, config in configs.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
    for path, content in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def run_rule(
    rule: Rule, folder: Path, config: str, *, others: Mapping[str, str] | None = None, files: Files | None = None
) -> list[Diagnostic]:
    """What `rule` says of the model "m" with `config`, in a repository with `others`."""
    models, problems = read_repository(write_repository(folder, {"m": config, **(others or {})}, files))
    assert not problems, problems
    return list(rule(models["m"], models))


def check_case(
    case: Case, folder: Path, *, others: Mapping[str, str] | None = None, files: Files | None = None
) -> None:
    """The bad text gives exactly the expected diagnostic, the good one none."""
    found = run_rule(case.rule, folder / "bad", case.bad, others=others, files=files)
    assert [(item.message, item.severity) for item in found] == [(case.message, case.severity)]
    span = found[0].span
    assert span is not None
    assert f"{span.line}:{span.column}" == case.at
    assert span.text == case.bad.split("\n")[span.line - 1]
    assert run_rule(case.rule, folder / "good", case.good, others=others, files=files) == []
