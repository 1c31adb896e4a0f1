"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from packc.errors import Diagnostic
from packc.package.lint.repository import LintedModel, Repository

Rule = Callable[[LintedModel, Repository], Iterator[Diagnostic]]
"""Looks at one model, in sight of the others, and says what is wrong with one aspect of it."""
