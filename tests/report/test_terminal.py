from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

import manifests
from goldens import check_golden
from packc.package.manifest import Manifest
from packc.report.terminal import print_report, render_report

MAKERS: dict[str, Callable[[], Manifest]] = {
    "kept": manifests.make_kept_manifest,
    "missed": manifests.make_missed_manifest,
    "allowed": manifests.make_allowed_manifest,
    "imported": manifests.make_imported_manifest,
    "planned": manifests.make_planned_manifest,
    "halved": manifests.make_halved_manifest,
    "error": manifests.make_error_manifest,
    "gpu": lambda: manifests.make_gpu_manifest(*manifests.HELD_BACK),
}


@pytest.mark.parametrize("name", MAKERS)
def test_report_reads_as_golden(name: str) -> None:
    check_golden(f"report/{name}.txt", render_report(MAKERS[name](), 120) + "\n")


@pytest.mark.parametrize("width", [80, 48])
def test_narrow_report_reads_as_golden(width: int) -> None:
    check_golden(f"report/kept-{width}.txt", render_report(manifests.make_kept_manifest(), width) + "\n")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    lines = render_report(MAKERS[name](), width).splitlines()
    assert max(map(len, lines)) <= width


def test_colour_changes_nothing_but_colour() -> None:
    manifest = manifests.make_kept_manifest()
    coloured = render_report(manifest, 120, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_report(manifest, 120)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_only_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    print_report(manifests.make_kept_manifest(), out)
    assert ("\x1b[" in out.getvalue()) == is_coloured


def test_a_file_gets_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(manifests.make_kept_manifest())
    printed = capsys.readouterr()
    assert printed.out == render_report(manifests.make_kept_manifest(), 120) + "\n"
    assert printed.err == ""
