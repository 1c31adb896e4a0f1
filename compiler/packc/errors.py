"""Every error that pack raises on purpose, and the exit code each one ends a command with.

PackError                   1   something failed, or a bug
  UsageError                2   the command line is wrong
  SpecError                 2   the spec is wrong: one Diagnostic a mistake
  SourceError               2   the model cannot be read, exported or reproduced
  DataError                 2   evaluation, calibration or workload data are malformed
  TargetError               2   a target is unknown
  ProfileError              2   a target profile is malformed: one Diagnostic a mistake
  BudgetMissed              3   no candidate keeps the latency, size or memory budget
  QualityMissed             4   no candidate keeps the quality bound
  MissingError              5   a device, a library or a server that is needed is not here
  PushError                 6   the destination did not take the package
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text file. Lines and columns count from 1, `length` is in characters."""

    path: Path
    line: int
    column: int
    length: int = 1
    text: str = ""
    """The whole source line, without its newline, so that a caret can be drawn below it."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: what is wrong, where, and how to mend it. A warning is a mistake that still works."""

    message: str
    span: Span | None = None
    hint: str | None = None
    severity: Severity = "error"

    def render(self) -> str:
        """The diagnostic as text: `path:line:col: message`, the line with a caret, the hint."""
        if self.span is None:
            lines = [f"{self.severity}: {self.message}"]
        else:
            s = self.span
            lines = [f"{s.path}:{s.line}:{s.column}: {self.severity}: {self.message}"]
            if s.text:
                gutter = f"{s.line:>5} | "
                caret = " " * (len(gutter) - 2) + "| " + " " * (s.column - 1) + "^" * max(1, s.length)
                lines += [gutter + s.text, caret]
        if self.hint:
            lines += ["", f"hint: {self.hint}"]
        return "\n".join(lines)


class PackError(Exception):
    """Base of every deliberate error; `str(error)` is what, where and why, `hint` how to mend it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return (Diagnostic(str(self), hint=self.hint),)

    def render(self) -> str:
        """All diagnostics as the text that the command line prints on stderr."""
        return "\n\n".join(diagnostic.render() for diagnostic in self.diagnostics)


class DiagnosedError(PackError):
    """An error made of several located mistakes, printed all at once in file order."""

    exit_code = 2

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(d.message for d in diagnostics))
        self._diagnostics = diagnostics

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self._diagnostics


class SpecError(DiagnosedError):
    """The spec is wrong."""


class ProfileError(DiagnosedError):
    """A target profile is malformed."""


class DataError(DiagnosedError):
    """A data file is malformed; the diagnostics name its lines."""


class UsageError(PackError):
    """The command line is wrong."""

    exit_code = 2


class SourceError(PackError):
    """The model cannot be read, exported, or its export differs from the source."""

    exit_code = 2


class TargetError(PackError):
    """A target is unknown."""

    exit_code = 2


class BudgetMissed(PackError):
    """No candidate keeps the budget; nothing was published."""

    exit_code = 3


class QualityMissed(PackError):
    """No candidate keeps the quality bound; nothing was published."""

    exit_code = 4


class MissingError(PackError):
    """A device, a library or a server that the command needs is not here."""

    exit_code = 5


class PushError(PackError):
    """The destination did not take the package; what it served before still serves."""

    exit_code = 6
