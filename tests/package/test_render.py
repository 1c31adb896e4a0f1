from __future__ import annotations

import jinja2
import pytest

from packc.package.render import render_template


def test_a_missing_variable_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render_template("pipelines/labels.py.j2")


def test_literals_of_every_kind_are_python() -> None:
    source = render_template(
        "pipelines/tokenizer.py.j2", name="n", max_length=4, pad_id=0, pairs=False, outputs=(("a\"'\\é", "x"),)
    )
    line = next(line for line in source.splitlines() if line.startswith("OUTPUTS"))
    assert eval(line.removeprefix("OUTPUTS = ")) == (("a\"'\\é", "x"),)
