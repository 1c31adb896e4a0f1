"""What the documents name exists: files, commands, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from packc.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*/*.md", "targets/*.md")
    for path in ROOT.glob(pattern)
)


def find_code(text: str) -> str:
    """The inline code, and the lines of console blocks that begin with a prompt."""
    blocks = re.findall(r"```(?:console|sh|bash)\n(.*?)```", text, re.DOTALL)
    typed = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join((*typed, *inline))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text("utf-8"))
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_exist(name: str) -> None:
    code = find_code((ROOT / name).read_text("utf-8"))
    commands = set(re.findall(r"^pack ([a-z]+)", code, re.MULTILINE))
    assert commands <= {entry.name for entry in COMMANDS}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name: str) -> None:
    code = find_code((ROOT / name).read_text("utf-8"))
    targets = set(re.findall(r"^make ([a-z]+)", code, re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_there_are_documents() -> None:
    assert {"README.md", "docs/architecture.md", "examples/minilm/README.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_placeholder_is_left(name: str) -> None:
    assert "@@" not in (ROOT / name).read_text("utf-8")
