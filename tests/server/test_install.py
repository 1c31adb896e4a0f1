from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from packc.cache import Cache
from packc.errors import MissingError
from packc.server import install
from packc.server.install import Interpreter, choose_interpreter, find_own_server, install_server

HERE = Interpreter(sys.executable, (3, 11), Path("/lib"), "/usr")


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    monkeypatch.setattr(install, "_candidate_interpreters", lambda: [HERE])
    return HERE


def fake_packages(commands: list[list[str]]) -> Callable[[list[str], str, Path], None]:
    """Stands in for venv and pip: leaves the files that the wheel would bring."""

    def run(command: list[str], what: str, folder: Path) -> None:
        commands.append(command)
        if "venv" in command:
            triton = Path(command[-1]) / "lib/python3.11/site-packages/pytriton/tritonserver"
            for file in (
                "bin/tritonserver",
                "backends/python/libtriton_python.so",
                "backends/python/triton_python_backend_utils.py",
                "python_backend_stubs/3.11/triton_python_backend_stub",
            ):
                (triton / file).parent.mkdir(parents=True, exist_ok=True)
                (triton / file).write_text(file)

    return run


def test_installs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(install, "run_installer", fake_packages(commands))
    monkeypatch.setattr(install, "_check_machine", lambda: None)
    cache = Cache(tmp_path)
    assert find_own_server(cache) is None
    server = install_server(cache)
    assert install_server(cache) == server == find_own_server(cache)
    assert len(commands) == 3, "one environment, two calls of pip"
    asked = [word for command in commands[1:] for word in command if "==" in word]
    assert {"nvidia-pytriton==0.7.0", "numpy==1.26.4"} <= set(asked)
    assert server.executable.is_file()
    found = {path.relative_to(server.backends).as_posix() for path in server.backends.rglob("*") if path.is_file()}
    assert found == {
        "python/libtriton_python.so",
        "python/triton_python_backend_utils.py",
        "python/triton_python_backend_stub",
        "pack_requests.py",
        "onnxruntime/model.py",
        "onnxruntime/cuda_engine.py",
        "openvino/model.py",
        "tensorrt/model.py",
        *(f"tensorrt/tensorrt_{name}.py" for name in ("engine", "driver", "plan", "profiles", "session", "build")),
    }
    assert not any(path.is_symlink() for path in server.backends.rglob("*")), "Triton refuses links there"
    assert server.variables["PATH"].split(os.pathsep)[0] == str(server.executable.parents[6] / "bin")
    site = next(server.executable.parents[3].glob("*.pth"))
    assert "dont_write_bytecode" in site.read_text()


def test_a_failed_installation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter
) -> None:
    def fail(command: list[str], what: str, folder: Path) -> None:
        fake_packages([])(command, what, folder)
        if "pip" in command:
            raise MissingError(f"could not {what}")

    monkeypatch.setattr(install, "run_installer", fail)
    monkeypatch.setattr(install, "_check_machine", lambda: None)
    cache = Cache(tmp_path)
    with pytest.raises(MissingError, match="could not install nvidia-pytriton"):
        install_server(cache)
    assert find_own_server(cache) is None
    assert cache.entries() == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("line 1\nno such package", "no such package"),
        (
            "WARNING: Retrying\n"
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
            "\nWARNING: There was an error checking the latest version of pip.",
            "Could not install packages due to an OSError: [Errno 28] No space left on device",
        ),
        ("ERROR: Cannot install a and b\nERROR: ResolutionImpossible: for help visit", "Cannot install a and b"),
        ("[notice] A new release of pip", "it ended with status 1"),
    ],
)
def test_a_failed_step_says_why_in_one_line(tmp_path: Path, said: str, reason: str) -> None:
    program = [sys.executable, "-c", f"import sys; sys.exit({said!r})"]
    with pytest.raises(MissingError) as caught:
        install.run_installer(program, "install it", tmp_path)
    assert str(caught.value) == f"the Triton server is not installed: could not install it: {reason}"
    assert "network" in (caught.value.hint or "")


@pytest.mark.parametrize("status", [0, 1])
def test_a_step_leaves_no_temporary_files(tmp_path: Path, status: int) -> None:
    program = (
        "import os, sys, tempfile; folder = tempfile.mkdtemp(); open('told', 'w').write(folder); "
        f"open(folder + '/part', 'w').close(); sys.exit({status})"
    )
    command = ["sh", "-c", f'cd {tmp_path} && exec {sys.executable} -c "{program}"']
    staging = tmp_path / "staging"
    staging.mkdir()
    with contextlib.suppress(MissingError):
        install.run_installer(command, "install it", staging)
    assert Path((tmp_path / "told").read_text()).is_relative_to(staging)
    assert list(staging.iterdir()) == []


def test_an_interrupted_step_leaves_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(command: list[str], *, env: dict[str, str], **options: object) -> None:
        Path(env["TMPDIR"], "pip-target-1").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        install.run_installer(["pip"], "install it", tmp_path)
    assert list(tmp_path.iterdir()) == []


INSTALL = """
import sys
from pathlib import Path
from packc.server.install import run_installer

run_installer([sys.executable, "-c", sys.argv[1]], "install it", Path(sys.argv[2]))
"""


def test_a_killed_pack_leaves_no_step_running(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    step = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", INSTALL, step, str(tmp_path)])
    ended = os.pidfd_open(int((tmp_path / "pid").read_text()))
    parent.kill()
    parent.wait()
    assert select.select([ended], [], [], 10)[0], "it outlived its parent"
    os.close(ended)


def test_new_versions_need_a_new_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter
) -> None:
    monkeypatch.setattr(install, "run_installer", fake_packages([]))
    monkeypatch.setattr(install, "_check_machine", lambda: None)
    cache = Cache(tmp_path)
    install_server(cache)
    monkeypatch.setattr(install, "NUMPY", "numpy==1.26.5")
    assert find_own_server(cache) is None


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (("Darwin", "arm64", ("", "")), "x86-64 Linux only; this is arm64 Darwin"),
        (("Linux", "aarch64", ("glibc", "2.39")), "x86-64 Linux only; this is aarch64 Linux"),
        (("Linux", "x86_64", ("glibc", "2.31")), "needs glibc 2.35 or newer; this system has glibc 2.31"),
        (("Linux", "x86_64", ("", "")), "needs glibc 2.35 or newer; this system has another libc"),
    ],
)
def test_machines_that_cannot_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: tuple[str, str, tuple[str, str]], reason: str
) -> None:
    system, machine, libc = facts
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    with pytest.raises(MissingError, match=reason):
        install_server(Cache(tmp_path))


def test_this_python_is_looked_at() -> None:
    found = install._inspect(sys.executable)
    assert found is None or (found.minor == sys.version_info[:2] and found.libraries.is_dir())
    assert install._inspect("/no/such/python") is None


def test_no_python_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_candidate_interpreters", list)
    with pytest.raises(MissingError, match=r"needs a Python 3.10 to 3.13 .* shared library") as caught:
        choose_interpreter()
    assert "libpython3.13" in (caught.value.hint or "")
