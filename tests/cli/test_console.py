from __future__ import annotations

import io
import logging
import sys

import pytest

from packc.cli import console
from packc.cli.console import print_note, print_table, set_level, start_logging, use_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_logs_are_plain_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    log = logging.getLogger("packc.anything")
    log.debug("detail")
    log.info("exported in %.1f s", 2.0)
    log.warning("no fusion")
    assert capsys.readouterr() == ("", "exported in 2.0 s\nwarning: no fusion\n")


def test_a_traceback_follows_what_was_logged_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    set_level(logging.DEBUG)
    try:
        raise ValueError("odd")
    except ValueError as error:
        logging.getLogger("packc.anything").debug("target cpu", exc_info=error)
    err = capsys.readouterr().err
    assert err.startswith("target cpu\nTraceback (most recent call last)")
    assert err.endswith("ValueError: odd\n")


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    set_level(logging.WARNING)
    console.LOGGER.info("step")
    assert capsys.readouterr().err == ""
    set_level(logging.DEBUG)
    assert console.is_verbose()
    console.LOGGER.debug("detail")
    assert capsys.readouterr().err == "detail\n"
    start_logging()
    assert not console.is_verbose()
    assert len(console.LOGGER.handlers) == 1


def test_colour_needs_a_terminal_and_obeys_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not use_colour()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    print_note("spec.toml:1:2: error: bad\n\nhint: good")
    coloured = terminal.getvalue()
    assert "spec.toml:1:2: \x1b[31m\x1b[1merror:\x1b[0m bad" in coloured
    assert "\x1b[36m\x1b[1mhint:\x1b[0m good" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    monkeypatch.setattr(sys, "stderr", plain)
    print_note("error: bad")
    assert plain.getvalue() == "error: bad\n"


def test_tables_are_aligned_without_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "LONGER"), [("wide cell", "x"), ("y", "")])
    assert capsys.readouterr().out == "A          LONGER\nwide cell  x\ny\n"
