"""Which devices a spec means, and what it asks of them in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import make_tiny_onnx
from packc.driver.profiles import Found, find_profiles, read_checked_spec
from packc.errors import MissingError, SpecError
from packc.spec.read import read_spec
from packc.target import Target
from packc.target_profiles import find_target

MODEL = '[model]\nname = "tiny"\nsource = "tiny.onnx"\n'
CPU = '[targets.cpu]\nprofile = "host"\n'
L4 = '[targets.l4]\nprofile = "nvidia-l4"\n'
T4 = '[targets.t4]\nprofile = "nvidia-t4"\n'


def find(folder: Path, *sections: str, only: tuple[str, ...] = ()) -> dict[str, Found]:
    make_tiny_onnx(folder / "tiny.onnx")
    path = folder / "spec.toml"
    path.write_text(MODEL + "".join(sections))
    return {target.target: found for target, found in find_profiles(read_spec(path), path, find_target, only)}


def read_lines(error: SpecError) -> list[tuple[str, str]]:
    """Each mistake: its message, and the line of the spec that it points at."""
    return [(mistake.message, mistake.span.text if mistake.span else "") for mistake in error.diagnostics]


def test_every_target_has_its_device(tmp_path: Path) -> None:
    found = find(tmp_path, CPU, L4)
    assert [found.kind for found in found.values() if isinstance(found, Target)] == ["cpu", "cuda"]
    assert list(find(tmp_path, CPU, L4, only=("l4",))) == ["l4"]


def test_all_that_is_wrong_with_the_spec_is_said_with_its_line(tmp_path: Path) -> None:
    jetson = '[targets.edge]\nprofile = "jetson-orin-nano-8gb"\n'
    wrong = L4.replace("nvidia-l4", "nvidia-l5")
    with pytest.raises(SpecError) as caught:
        find(tmp_path, CPU, jetson, T4, wrong, '[combine]\nfleet = ["t4", "cpu", "edge"]\n', only=("t4", "l4"))
    (profile, line), (cpu, group), (edge, _) = read_lines(caught.value)
    assert (profile, line) == ('unknown target "nvidia-l5"', 'profile = "nvidia-l5"')
    assert caught.value.diagnostics[0].hint == 'did you mean "nvidia-l4"?'
    assert (cpu.startswith("[combine] fleet: cpu is "), cpu.endswith(", a cpu device")) == (True, True)
    assert group == 'fleet = ["t4", "cpu", "edge"]'
    assert edge.endswith(", a jetson device")


def test_a_profile_file_that_is_not_there_is_told_with_the_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "board.toml").touch()
    for named, hint in (("./nope.toml", f"it was looked for at {tmp_path / 'nope.toml'}"), ("bord.toml", None)):
        with pytest.raises(SpecError) as caught:
            find(tmp_path, L4.replace("nvidia-l4", named))
        assert read_lines(caught.value) == [(f'there is no profile "{named}"', f'profile = "{named}"')]
        assert caught.value.diagnostics[0].hint == (hint or 'did you mean "board.toml"?')


def test_a_gpu_that_is_not_here_costs_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packc.target_profiles.find_gpu", lambda: None)
    gpu = '[targets.gpu]\nprofile = "host-gpu"\n'
    found = find(tmp_path, gpu, L4, '[combine]\nfleet = ["gpu", "l4"]\n')
    assert isinstance(found["gpu"], MissingError)
    assert isinstance(found["l4"], Target)


@pytest.mark.parametrize(
    ("shared", "own", "message", "line"),
    [
        (
            '[optimize]\nprecisions = ["bf16"]\n',
            "",
            "[optimize] precisions: NVIDIA T4 (nvidia-t4) has no bf16",
            'precisions = ["bf16"]',
        ),
        (
            "",
            'optimize.precisions = ["int4"]\n',
            "[targets.t4] optimize.precisions: pack has no recipe for it (int4 on NVIDIA T4)",
            'optimize.precisions = ["int4"]',
        ),
        (
            "",
            'optimize.runtimes = ["onnxruntime"]\n',
            "[targets.t4] optimize.runtimes: onnxruntime is for cpu devices, and NVIDIA T4 is a cuda device",
            'optimize.runtimes = ["onnxruntime"]',
        ),
        (
            '[optimize.tensorrt]\nhardware_compatible = "ampere_plus"\n',
            "",
            '[optimize.tensorrt] hardware_compatible: "ampere_plus" is for Ampere and later GPUs, and NVIDIA T4 is of '
            "turing (7.5)",
            'hardware_compatible = "ampere_plus"',
        ),
    ],
    ids=["all", "own", "runtime", "ampere"],
)
def test_what_a_device_cannot_do_costs_its_target(
    tmp_path: Path, shared: str, own: str, message: str, line: str
) -> None:
    found = find(tmp_path, shared, L4, T4, own)
    assert isinstance(found["l4"], Target)
    assert isinstance(found["t4"], SpecError)
    assert read_lines(found["t4"]) == [(message, line)]


def test_what_no_engine_is_built_with_is_no_mistake(tmp_path: Path) -> None:
    compatible = '[optimize]\nruntimes = ["onnxruntime-cuda"]\ntensorrt.hardware_compatible = "ampere_plus"\n'
    assert isinstance(find(tmp_path, compatible, T4)["t4"], Target)


def test_mistakes_in_groups_are_told_at_once_whether_names_or_devices_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    groups = '[combine]\na = ["l5", "l4"]\nb = ["l4", "cpu"]\n'
    path.write_text(MODEL.replace("tiny.onnx", "nowhere.onnx") + CPU + L4 + T4.replace("nvidia-t4", "t5") + groups)
    with pytest.raises(SpecError) as caught:
        read_checked_spec(path)
    told = [(message.partition(": cpu is")[0], line) for message, line in read_lines(caught.value)]
    assert told[1:] == [
        ('unknown target "t5"', 'profile = "t5"'),
        ('[combine] a: there is no target "l5"', 'a = ["l5", "l4"]'),
        ("[combine] b", 'b = ["l4", "cpu"]'),
    ]
    assert "nowhere.onnx" in told[0][0]


def test_what_cannot_be_read_of_devices_costs_no_other_mistake(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    (tmp_path / "mine.toml").write_text("name = 1\n")
    for text, message in (
        ("[model\n", "not valid TOML"),
        ("targets = 3\ncombine = 3\n", r"\[targets\] must be a table"),
        ("[targets]\na = 3\nb.profile = 3\nc.profile = './mine.toml'\n[combine]\nx = 3\n", "must be a string"),
    ):
        path.write_text(text)
        with pytest.raises(SpecError, match=message):
            read_checked_spec(path)
    path.write_text(MODEL + CPU)
    make_tiny_onnx(tmp_path / "tiny.onnx")
    assert read_checked_spec(path) == read_spec(path)


def test_settings_of_tensorrt_that_no_runtime_reads_are_remarked_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = '[optimize]\nruntimes = ["onnxruntime-cuda"]\ntensorrt.level = 3\n'
    find(tmp_path, settings, L4)
    why = "[optimize.tensorrt] says nothing here: tensorrt is not among the runtimes of l4"
    assert caplog.messages[0].endswith(f"spec.toml:6: {why}")
    caplog.clear()
    find(tmp_path, L4, 'optimize.runtimes = ["onnxruntime-cuda"]\noptimize.tensorrt.level = 3\n')
    assert caplog.messages[0].endswith(f"spec.toml:7: {why}"), "the target's own setting"
    caplog.clear()
    find(tmp_path, settings, L4, T4, 'optimize.runtimes = ["tensorrt"]\n')
    assert caplog.messages == []


def test_settings_of_tensorrt_without_a_gpu_are_remarked_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = "[optimize.tensorrt]\nlevel = 3\n"
    find(tmp_path, settings, CPU, L4)
    assert caplog.messages == []
    find(tmp_path, settings, CPU)
    assert caplog.messages[0].endswith("spec.toml:4: [optimize.tensorrt] says nothing here: no target is an NVIDIA GPU")
