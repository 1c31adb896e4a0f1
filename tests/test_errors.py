from __future__ import annotations

import re
from pathlib import Path

from packc import errors
from packc.errors import Diagnostic, MissingError, PackError, Span, SpecError

SPAN = Span(Path("spec.toml"), 12, 5, 7, "    latency = 3")


def test_the_docstring_draws_the_whole_tree() -> None:
    drawn = dict(re.findall(r"^ *(\w+) +(\d) ", errors.__doc__ or "", re.MULTILINE))
    kinds = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, PackError)
    }
    kinds.pop("DiagnosedError")
    assert drawn == {name: str(kind.exit_code) for name, kind in kinds.items()}


def test_a_located_mistake_shows_its_line_and_a_caret() -> None:
    text = Diagnostic("unknown key", SPAN, hint="did you mean it?").render()
    assert text.splitlines() == [
        "spec.toml:12:5: error: unknown key",
        "   12 |     latency = 3",
        "      |     ^^^^^^^",
        "",
        "hint: did you mean it?",
    ]


def test_a_mistake_without_text_or_place_is_one_line() -> None:
    assert Diagnostic("bad", Span(Path("a"), 1, 1)).render() == "a:1:1: error: bad"
    assert Diagnostic("bad").render() == "error: bad"


def test_a_warning_says_so() -> None:
    assert Diagnostic("careful", severity="warning").render() == "warning: careful"


def test_an_error_renders_its_message_and_hint() -> None:
    assert MissingError("no server", hint="install one").render() == "error: no server\n\nhint: install one"


def test_several_mistakes_are_one_error() -> None:
    failure = SpecError(Diagnostic("first", SPAN), Diagnostic("second"))
    assert str(failure) == "first; second"
    assert failure.render().count("\n\n") == 1
    assert failure.render().endswith("error: second")
