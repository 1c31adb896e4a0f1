from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests import make_kept_manifest
from packc.cli.main import run
from packc.package.manifest_file import write_manifest
from packc.report.html import render_html
from packc.report.terminal import render_report


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    write_manifest(folder, make_kept_manifest())
    return folder


def test_prints_the_table(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(package)]) == 0
    assert capsys.readouterr().out == render_report(make_kept_manifest()) + "\n"


def test_json_is_the_manifest_and_nothing_else(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(package), "--json"]) == 0
    out = capsys.readouterr().out
    assert out == (package / "manifest.json").read_text("utf-8")
    assert json.loads(out)["verdict"]["met"] is True


def test_html_is_written_where_it_is_wanted(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run(["report", str(package), "--html", str(page)]) == 0
    assert page.read_text("utf-8") == render_html(make_kept_manifest())
    printed = capsys.readouterr()
    assert printed.err == f"wrote {page}\n"
    assert "keeps every promise" in printed.out


def test_a_folder_without_a_manifest_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path)]) == 2
    assert "is not a package" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_usage_error(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(package), "--html", str(package / "none" / "page.html")]) == 2
    assert "cannot write" in capsys.readouterr().err
