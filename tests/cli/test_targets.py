from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldens import check_golden
from gpu_driver import H200
from packc import target_profiles
from packc.cli.main import run


def test_the_list_begins_with_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("host ")
    assert any(line.startswith("nvidia-l4 ") for line in lines)
    assert [line for line in lines if line.endswith("(unsupported)")]


@pytest.mark.parametrize("name", ["cpu-aws-graviton4", "jetson-orin-nano-8gb", "aws-inf1"])
def test_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "show", name]) == 0
    check_golden(f"targets/{name}.txt", capsys.readouterr().out)


def test_show_a_profile_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "board.toml"
    path.write_text('name = "B"\nkind = "cpu"\narch = "armv8"\nunits = 4\nisa = ["asimd"]\n')
    assert run(["targets", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "board"


def test_an_unknown_one_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "show", "nvidia-l44"]) == 2
    assert capsys.readouterr().err == 'error: unknown target "nvidia-l44"\n\nhint: did you mean "nvidia-l4"?\n'


def test_a_target_without_a_command_is_told_which_command_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "nvidia-l4"]) == 2
    hint = "hint: `pack targets show nvidia-l4` shows one target"
    assert capsys.readouterr().err == f'error: `pack targets` has no command "nvidia-l4"\n\n{hint}\n'


def test_a_gpu_that_is_not_here_is_listed_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target_profiles, "find_gpu", lambda: None)
    assert run(["targets"]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith("host-gpu ")
    assert row.endswith("this machine's: there is no NVIDIA GPU here, or no driver that this process may use")
    assert run(["targets", "--json"]) == 0
    assert "host-gpu" not in {target["id"] for target in json.loads(capsys.readouterr().out)["targets"]}


def test_the_gpu_of_this_machine_comes_after_its_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target_profiles, "find_gpu", lambda: H200)
    assert run(["targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("host-gpu ")
    assert next(line for line in lines if line.endswith("(this machine's)")).startswith("nvidia-h200-sxm ")
    assert run(["targets", "show", "host-gpu"]) == 0
    check_golden("targets/host-gpu.txt", capsys.readouterr().out)
