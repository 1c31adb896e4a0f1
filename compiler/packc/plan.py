"""Spec x Target -> Plan: which candidates are worth building, and why the others are not. A pure function."""

from __future__ import annotations

from dataclasses import dataclass

from packc.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate, precision or runtime that is not worth building here, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will try, in order, and what it will not."""

    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
