"""Bad input through the command line: one clear error, the right exit code, nothing half-written, and soon."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_bert_folder
from goldens import check_golden
from models import make_tiny_onnx, write_jsonl
from packc.cli.main import run

SPEC = """\
[model]
name = "tiny"
source = "bert"
"""
TARGET = """
[targets.cpu]
profile = "host"
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a checkpoint that looks right from outside, and a cache without a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("packc.server.environment._CONTAINER_SERVER", tmp_path / "tritonserver")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("PACK_TRITON_SERVER", "PACK_TRITON_BACKENDS", "PACK_CACHE_GIB"):
        monkeypatch.delenv(name, raising=False)
    write_bert_folder(tmp_path / "bert")
    return tmp_path


def write_spec(sections: str = "", *, source: str = "bert", target: str = TARGET) -> None:
    Path("spec.toml").write_text(SPEC.replace("bert", source) + sections + target)


def check_failure(name: str, code: int, capsys: pytest.CaptureFixture[str], *command: str) -> None:
    """Runs `pack COMMAND...`: exit code `code`, one error as in the golden file, no new file outside the cache."""
    before = list_files()
    assert run(command) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert list_files() == before
    assert "error: " in err
    assert "bug in pack" not in err
    assert "Traceback" not in err
    check_golden(f"bad_input/{name}.txt", f"$ pack {' '.join(command)}\n{err.replace(str(Path.cwd()), '<dir>')}")


def list_files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.parts[0] != "cache"}


SPECS: dict[str, str] = {
    "unknown_key": SPEC + "\n[workload]\nconcurency = 3\n" + TARGET,
    "wrong_unit": SPEC + "\n[budget]\nlatency_s = 0.015\n" + TARGET,
    "unit_in_value": SPEC + '\n[budget]\nlatency_ms = "15 ms"\n' + TARGET,
    "typical_above_max": SPEC + "\n[workload]\nbatch = { typical = 16, max = 8 }\n" + TARGET,
    "impossible_quality": SPEC + '\n[quality]\nmetric = "cosine"\nmin = 95.0\n' + TARGET,
    "unknown_task": SPEC + 'task = "translation"\n' + TARGET,
    "bad_name": SPEC.replace('"tiny"', '"my model"') + TARGET,
    "empty_targets": SPEC + "\n[targets]\n",
    "missing_model_folder": SPEC.replace('"bert"', '"./brt"') + TARGET,
    "missing_data": SPEC + '\n[quality]\ndata = "eval.jsonl"\n' + TARGET,
    "several_mistakes": SPEC + 'tsk = "x"\n\n[budget]\nlatency_ms = -1\n' + TARGET.replace("profile", "profil"),
}


@pytest.mark.parametrize("name", SPECS)
def test_specs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.toml").write_text(SPECS[name])
    check_failure(name, 2, capsys, "build", "spec.toml")


def test_a_spec_that_is_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    check_failure("spec_is_folder", 2, capsys, "plan", ".")


def test_a_spec_that_is_not_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.toml").write_bytes(b'[model]\nname = "\xff"\n')
    check_failure("spec_not_utf8", 2, capsys, "build", "spec.toml")


def test_a_spec_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec()
    check_failure("spec_missing", 2, capsys, "plan", "spce.toml")


def pickle_only() -> str:
    Path("bert/model.safetensors").rename("bert/pytorch_model.bin")
    return "bert"


def truncated_weights() -> str:
    file = Path("bert/model.safetensors")
    file.write_bytes(file.read_bytes()[:-60])
    return "bert"


def unknown_architecture() -> str:
    write_bert_folder(Path("bert"), architectures=["BertForDance"])
    return "bert"


def decoder() -> str:
    write_bert_folder(Path("bert"), architectures=["GPT2LMHeadModel"])
    return "bert"


def unsupported_operator() -> str:
    def edit(model: object) -> None:
        model.graph.node[0].op_type = "Frobnicate"  # type: ignore[attr-defined]

    return str(make_tiny_onnx(Path("tiny.onnx"), edit=edit))


def missing_external_data() -> str:
    make_tiny_onnx(Path("tiny.onnx"), external_data=True)
    Path("tiny.onnx.data").unlink()
    return "tiny.onnx"


def truncated_external_data() -> str:
    make_tiny_onnx(Path("tiny.onnx"), external_data=True)
    os.truncate("tiny.onnx.data", 10)
    return "tiny.onnx"


def no_onnx() -> str:
    Path("tiny.onnx").write_bytes(b"not a graph")
    return "tiny.onnx"


MODELS: tuple[Callable[[], str], ...] = (
    pickle_only,
    truncated_weights,
    unknown_architecture,
    decoder,
    unsupported_operator,
    missing_external_data,
    truncated_external_data,
    no_onnx,
)


@pytest.mark.parametrize("prepare", MODELS, ids=lambda prepare: prepare.__name__)
def test_models(prepare: Callable[[], str], capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(source=prepare())
    check_failure(prepare.__name__, 2, capsys, "build", "spec.toml")


def test_a_task_whose_head_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec('task = "text-classification"\n')
    check_failure("other_task", 2, capsys, "build", "spec.toml")


@pytest.mark.parametrize("command", [("init", "bert"), ("inspect", "bert")], ids=lambda command: command[0])
def test_other_commands_refuse_the_same_models(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    truncated_weights()
    check_failure(f"{command[0]}_truncated_weights", 2, capsys, *command)


DATA: dict[str, bytes] = {
    "empty_data": b"\n\n",
    "malformed_data": b'{"text": "a cat"}\n{"text": }\n{"txt": "a dog"}\n["a bird"]\n{"text": "", "label": 1}\n',
    "data_not_utf8": b'{"text": "\xff"}\n',
}


@pytest.mark.parametrize("section", ["quality", "workload", "calibration"])
@pytest.mark.parametrize("name", DATA)
def test_data(name: str, section: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("eval.jsonl").write_bytes(DATA[name])
    write_spec(f'\n[{section}]\ndata = "eval.jsonl"\n')
    check_failure(name, 2, capsys, "build", "spec.toml")


def test_data_that_are_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("eval.jsonl").mkdir()
    write_spec('\n[quality]\ndata = "eval.jsonl"\n')
    check_failure("data_is_folder", 2, capsys, "build", "spec.toml")


def test_labels_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    write_bert_folder(Path("bert"), architectures=["BertForSequenceClassification"], id2label={"0": "no", "1": "yes"})
    write_jsonl(Path("eval.jsonl"), [{"text": "a cat", "label": "yes"}, {"text": "a dog", "label": "maybe"}])
    write_spec('\n[quality]\ndata = "eval.jsonl"\n')
    check_failure("label_of_no_class", 2, capsys, "build", "spec.toml")


def test_calibration_data_of_another_shape(capsys: pytest.CaptureFixture[str]) -> None:
    make_tiny_onnx(Path("tiny.onnx"))
    np.savez("calib.npz", features=np.zeros((40, 7), np.float32))
    write_spec('\n[calibration]\ndata = "calib.npz"\n', source="tiny.onnx")
    check_failure("calibration_shape", 2, capsys, "build", "spec.toml", "--no-verify", "-q")


def test_calibration_data_that_are_no_archive(capsys: pytest.CaptureFixture[str]) -> None:
    make_tiny_onnx(Path("tiny.onnx"))
    Path("calib.npz").write_bytes(b"not an archive")
    write_spec('\n[calibration]\ndata = "calib.npz"\n', source="tiny.onnx")
    check_failure("calibration_no_archive", 2, capsys, "build", "spec.toml", "--no-verify")


@pytest.mark.parametrize("command", ["build", "plan"])
def test_an_unknown_target(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec(target=TARGET.replace("host", "cpu-aws-graviton44"))
    check_failure(f"{command}_unknown_target", 2, capsys, command, "spec.toml")


def test_a_target_that_the_spec_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec()
    check_failure("target_option", 2, capsys, "build", "spec.toml", "--target", "gpu")


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_precision_that_the_target_lacks(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_spec('\n[optimize]\nprecisions = ["fp8"]\n', target=TARGET.replace("host", "cpu-aws-graviton4"))
    check_failure(f"{command}_lacking_precision", 2, capsys, command, "spec.toml")


def test_a_pipeline_that_the_model_cannot_have(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec('\n[serve]\npipeline = "image"\n')
    check_failure("impossible_pipeline", 2, capsys, "build", "spec.toml")


def test_output_folders(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec()
    Path("file").touch()
    check_failure("out_is_file", 2, capsys, "build", "spec.toml", "--out", "file")
    check_failure("out_below_file", 2, capsys, "build", "spec.toml", "--out", "file/below")
    check_failure("out_not_writable", 2, capsys, "build", "spec.toml", "--out", "/proc/build")
    Path("mine/tiny/cpu").mkdir(parents=True)
    Path("mine/tiny/cpu/thesis.txt").touch()
    check_failure("out_holds_other_files", 2, capsys, "build", "spec.toml", "--out", "mine")


def test_caches(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_onnx(Path("tiny.onnx"))
    write_spec(source="tiny.onnx")
    Path("file").touch()
    monkeypatch.setenv("PACK_CACHE_DIR", str(Path("file").resolve()))
    check_failure("cache_is_file", 2, capsys, "build", "spec.toml", "--no-verify")
    monkeypatch.setenv("PACK_CACHE_GIB", "20 GB")
    check_failure("cache_cap", 2, capsys, "build", "spec.toml", "--no-verify")


def test_a_full_disk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file system tells it that allocates late: when files are synced."""

    def sync(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_spec(target=TARGET.replace("host", "aws-inf1"))  # whose build is a plan and a report
    monkeypatch.setattr(os, "fsync", sync)
    check_failure("disk_full", 1, capsys, "build", "spec.toml", "--out", "out")


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec()
    Path("repository/tiny").mkdir(parents=True)
    Path("repository/tiny/config.pbtxt").write_text('name: "tiny"\n')
    check_failure("build_no_server", 5, capsys, "build", "spec.toml")
    check_failure("serve_no_server", 5, capsys, "serve", "repository")


def test_an_address_of_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec()
    check_failure("bad_url", 2, capsys, "build", "spec.toml", "--url", "localhost")


def test_a_port_in_use(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("repository/tiny").mkdir(parents=True)
    Path("repository/tiny/config.pbtxt").write_text('name: "tiny"\n')
    monkeypatch.setenv("PACK_TRITON_SERVER", sys.executable)  # any program: it must not come to be started
    monkeypatch.setenv("PACK_TRITON_BACKENDS", str(Path("repository").resolve()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run(["serve", "repository", "--http-port", port]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    check_golden("bad_input/port_in_use.txt", err.replace(port, "<port>"))
    check_failure("port_twice", 2, capsys, "serve", "repository", "--http-port", "48123", "--grpc-port", "48123")


@pytest.mark.parametrize("command", ["verify", "serve", "bench", "lint", "report"])
def test_folders_that_hold_nothing_of_ours(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_failure(f"{command}_other_folder", 2, capsys, command, "bert")
    check_failure(f"{command}_no_folder", 2, capsys, command, "nowhere")


def test_push_to_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    check_failure("push_other_folder", 2, capsys, "push", "bert", "models")


def test_init_keeps_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    write_spec()
    check_failure("init_exists", 2, capsys, "init", "bert")
    check_failure("init_unwritable", 2, capsys, "init", "bert", "-o", "spec.toml/spec.toml")


SLOW_FACTORY = """
import os, time
from pathlib import Path

def make():
    Path("worker.tmp").write_text(str(os.getpid()))
    os.replace("worker.tmp", "worker.pid")
    time.sleep(120)
"""


def is_gone(pid: int) -> bool:
    """Whether the process ends within 10 s; one that nobody waited for is gone too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_ctrl_c_in_the_middle_of_a_build(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group; pack ends with 130 and leaves no child, no package and no scrap."""
    Path("slow.py").write_text(SLOW_FACTORY)
    Path("tmp").mkdir()
    write_spec(source="slow:make")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("pack"), "build", "spec.toml", "--no-verify", "--out", "out"],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    marker, deadline = Path("worker.pid"), time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("exporting slow:make\n\ninterrupted\n")
    assert is_gone(int(marker.read_text()))
    assert not Path("out").exists()
    assert not list(Path("tmp").glob("pack-*"))
    assert not list(Path("cache").glob("*/.*-*"))
