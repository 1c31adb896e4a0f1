"""Triton's rules for a model repository, one small function each."""

from packc.package.lint.linter import lint_repository

__all__ = ["lint_repository"]
