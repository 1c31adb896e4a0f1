from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from packc import __version__
from packc.cli import main
from packc.cli.main import COMMANDS, Entry, cli, load_command, run
from packc.errors import BudgetMissed, MissingError, PackError, PushError, QualityMissed, UsageError

HEAVY = {"torch", "transformers", "onnx", "onnxruntime", "onnxscript", "optimum", "scipy", "tritonclient"}
PACK = "from packc.cli.main import main; main()"
LIGHT = {"packc", "click", "typing_extensions", "colorama"}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes the command `fail` raise the given exception."""

    def install(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            raise error

        monkeypatch.setitem(cli.commands, "fail", click.Command("fail"))
        monkeypatch.setattr(main, "COMMANDS", (Entry("fail", f"{__name__}:fail", ""),))
        monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
        monkeypatch.setattr(main.importlib, "import_module", lambda name: sys.modules[__name__])

    return install


def imported_by(arguments: list[str]) -> set[str]:
    code = (
        "import sys; before = set(sys.modules); from packc.cli.main import run\n"
        f"assert run({arguments!r}) == 0\n"
        "print('MODULES', *sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.splitlines()[-1].split()[1:])


def test_help_imports_nothing_but_click() -> None:
    tops = {module.split(".")[0] for module in imported_by(["--help"])}
    assert tops - set(sys.stdlib_module_names) <= LIGHT


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_the_help_of_a_command_imports_no_runtime(name: str) -> None:
    assert not {module.split(".")[0] for module in imported_by([name, "--help"])} & HEAVY


def test_help_takes_less_than_a_fifth_of_a_second_of_cpu() -> None:
    def measure() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", PACK, "--help"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(measure() for _ in range(3)) < 0.2


def test_the_table_leads_to_commands_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    for entry in COMMANDS:
        command = load_command(entry.name)
        assert command.name == entry.name
        assert {"verbose", "quiet"} <= {parameter.name for parameter in command.params}
    assert run(["--help"]) == 0
    listed = re.findall(r"^  (\w+)  +\w", capsys.readouterr().out.split("Commands:")[1], re.MULTILINE)
    assert listed == [entry.name for entry in COMMANDS]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"pack {__version__}\n"


def test_no_command_shows_the_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: pack")


@pytest.mark.parametrize("arguments", [["nonsense"], ["doctor", "--nonsense"], ["targets", "show"], ["--nonsense"]])
def test_usage_errors_exit_with_2_and_a_hint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "\n\nhint: `pack" in err


def test_a_misspelt_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["docter"]) == 2
    assert "doctor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PackError("it"), 1),
        (UsageError("it"), 2),
        (BudgetMissed("it"), 3),
        (QualityMissed("it"), 4),
        (MissingError("it"), 5),
        (PushError("it"), 6),
    ],
)
def test_exit_code_is_that_of_the_error(
    error: PackError, code: int, failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert run(["fail"]) == code
    assert capsys.readouterr() == ("", "error: it\n")


def test_interruption_is_130(failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert run(["fail"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_a_full_disk_is_said_plainly(failing: Callable[[BaseException], None], capsys: Any) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", "/out/model.onnx"))
    assert run(["fail"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: the disk is full while writing /out/model.onnx")
    assert "hint: " in err


def test_a_library_of_an_extra_gives_its_pip_line(failing: Callable[[BaseException], None], capsys: Any) -> None:
    failing(ModuleNotFoundError("No module named 'onnx'", name="onnx.helper"))
    assert run(["fail"]) == 5
    assert capsys.readouterr().err == "error: onnx.helper is not installed\n\nhint: pip install 'packc[cpu]'\n"


def test_a_bug_shows_its_traceback_only_when_asked(failing: Callable[[BaseException], None], capsys: Any) -> None:
    failing(ZeroDivisionError("division by zero"))
    assert run(["fail"]) == 1
    err = capsys.readouterr().err
    assert "this is a bug in pack: ZeroDivisionError: division by zero" in err
    assert "Traceback" not in err
    assert run(["-v", "fail"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert run(["fail", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = f"{sys.executable} -c '{PACK}' schema | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_ctrl_c_from_the_terminal() -> None:
    code = "import time; print('up', flush=True); time.sleep(60)"
    program = (
        "import click, sys; from packc.cli import main\n"
        "@click.command()\n"
        f"def slow():\n    {code}\n"
        "main.load_command = lambda name: slow\n"
        "sys.exit(main.run(['doctor']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "up\n"
    time.sleep(0.05)
    process.send_signal(2)
    assert process.wait(10) == 130
    assert process.stderr.read().strip() == "interrupted"


def test_json_is_one_document_and_alone_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["targets", "--json"], ["targets", "show", "host", "--json"], ["cache", "ls", "--json"]):
        assert run(arguments) == 0
        assert json.loads(capsys.readouterr().out)["schema"] == 1
