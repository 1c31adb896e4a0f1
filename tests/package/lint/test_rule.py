from __future__ import annotations

import inspect

from packc.package.lint.linter import RULES


def test_every_rule_takes_a_model_and_its_repository_and_says_what_it_wants() -> None:
    for rule in RULES:
        assert len(inspect.signature(rule).parameters) == 2
        assert rule.__doc__
