from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from packc.cache import Cache
from packc.errors import MissingError
from packc.server import libraries
from packc.server.environment import Origin, Server
from packc.server.install import LIBRARIES, NUMPY
from packc.server.libraries import LibraryMissing, add_libraries, find_requirements

NEEDS = 'backend: "python"\nparameters {{ key: "requirement" value {{ string_value: "{}" }} }}'.format


def write_repository(folder: Path, *requirements: str) -> Path:
    for i, requirement in enumerate(requirements):
        (folder / f"m{i}").mkdir(parents=True)
        (folder / f"m{i}" / "config.pbtxt").write_text(NEEDS(requirement) if requirement else 'backend: "python"')
    return folder


def make_server(tmp_path: Path, origin: Origin = "own") -> Server:
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    return Server(tmp_path / "tritonserver", tmp_path, None, {"PATH": f"{binaries}:/bin"}, origin)


def write_torch(folder: Path, version: str, cuda: str) -> None:
    (folder / "torch").mkdir()
    (folder / "torch" / "version.py").write_text(f"__version__ = '{version}'\ncuda: Optional[str] = {cuda}\n")


def read_pins(command: list[str]) -> str:
    """What pip may install of other versions of: nothing that is named there. By now the entry has its own name."""
    pins = Path(command[command.index("--constraint") + 1])
    (entry,) = pins.parent.parent.glob("[!.]*")
    return (entry / pins.name).read_text()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was told, which installs the build of torch for CUDA 13.0."""
    seen: list[list[str]] = []

    def install(command: list[str], *_: str) -> None:
        seen.append(command)
        write_torch(Path(command[command.index("--target") + 1]), "2.11.0+cu130", "'13.0'")

    monkeypatch.setattr(libraries, "run_installer", install)
    monkeypatch.setenv("TORCH_FLAGS", "--index-url 'https://here/cpu'")
    return seen


def test_torch_is_installed_once_and_only_where_a_model_needs_it(tmp_path: Path, commands: list[list[str]]) -> None:
    server, cache = make_server(tmp_path), Cache(tmp_path / "cache")
    assert add_libraries(server, write_repository(tmp_path / "plain", ""), cache) is server
    repository = write_repository(tmp_path / "torch", "", "torch==2.13.0", "torch==2.13.0")
    first, again = add_libraries(server, repository, cache), add_libraries(server, repository, cache)
    assert first == again
    (command,) = commands
    assert command[0] == str(tmp_path / "venv" / "bin" / "python")
    assert command[-3:] == ["--index-url", "https://here/cpu", "torch==2.13.0"]
    assert Path(first.variables[LIBRARIES]).is_dir()
    assert first.variables["PATH"] == server.variables["PATH"]


def test_onnxruntime_for_gpus_comes_with_the_servers_numpy(tmp_path: Path, commands: list[list[str]]) -> None:
    repository = write_repository(tmp_path / "gpu", "onnxruntime-gpu[cuda,cudnn]==1.26.0")
    add_libraries(make_server(tmp_path), repository, Cache(tmp_path / "cache"))
    assert commands[0][-1] == "onnxruntime-gpu[cuda,cudnn]==1.26.0"
    assert read_pins(commands[0]) == f"{NUMPY}\n"
    assert "--index-url" not in commands[0]


def test_numpy_is_the_servers_whatever_else_is_installed(tmp_path: Path, commands: list[list[str]]) -> None:
    """A pin and no requirement: torch does without numpy, and its index need not have it."""
    repository = write_repository(tmp_path / "gpu", "onnxruntime-gpu[cuda,cudnn]==1.26.0", "torch==2.13.0")
    add_libraries(make_server(tmp_path), repository, Cache(tmp_path / "cache"))
    assert read_pins(commands[0]) == f"{NUMPY}\n"
    assert NUMPY not in commands[0]


def test_another_version_is_another_installation(tmp_path: Path, commands: list[list[str]]) -> None:
    server, cache = make_server(tmp_path), Cache(tmp_path / "cache")
    for version in ("2.13.0", "2.14.0"):
        add_libraries(server, write_repository(tmp_path / version, f"torch=={version}"), cache)
    assert [command[-1] for command in commands] == ["torch==2.13.0", "torch==2.14.0"]


def test_a_server_of_the_users_own_is_left_alone(tmp_path: Path, commands: list[list[str]]) -> None:
    server = make_server(tmp_path, "PATH")
    assert add_libraries(server, write_repository(tmp_path / "torch", "torch==2.13.0"), Cache(tmp_path)) is server
    assert commands == []


@pytest.mark.parametrize(
    "text",
    [
        "evil",
        "torch",
        "torch==2.13.0 evil",
        "torch @ https://evil/x.whl",
        "--pre",
        "torch==2.12.0.dev1",
        "torch==2.12.0+mine",
        "onnxruntime-gpu",
    ],
)
def test_nothing_but_a_known_library_of_one_version_is_ever_installed(tmp_path: Path, text: str) -> None:
    with pytest.raises(LibraryMissing, match=f"m0 requires {re.escape(repr(text))}, and pack installs nothing"):
        find_requirements(write_repository(tmp_path, text))


def test_builds_for_cpus_come_first_unless_the_user_says_where_torch_is(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_FLAGS")
    add_libraries(make_server(tmp_path), write_repository(tmp_path / "torch", "torch==2.13.0"), Cache(tmp_path))
    assert commands[0][-5:-1] == ["--extra-index-url", "https://download.pytorch.org/whl/cpu", "--retries", "1"]


def test_a_build_for_gpus_comes_from_the_index_of_its_cuda(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_FLAGS")
    repository = write_repository(tmp_path / "torch", "torch==2.11.0+cu130")
    add_libraries(make_server(tmp_path), repository, Cache(tmp_path / "cache"))
    index = "https://download.pytorch.org/whl/cu130"
    assert commands[0][-5:] == ["--extra-index-url", index, "--retries", "1", "torch==2.11.0"]


def test_a_failed_installation_leaves_nothing(tmp_path: Path) -> None:
    server, cache = make_server(tmp_path), Cache(tmp_path / "cache")
    pip = tmp_path / "venv" / "bin" / "python"
    pip.unlink()
    pip.write_text("#!/bin/sh\necho no space left >&2; exit 1\n")
    pip.chmod(0o755)
    with pytest.raises(LibraryMissing) as failure:
        add_libraries(server, write_repository(tmp_path / "torch", "torch==2.13.0"), cache)
    assert str(failure.value) == (
        f"torch==2.13.0, which {tmp_path / 'torch'} needs, is not installed: could not install torch==2.13.0: "
        "no space left"
    )
    assert "TORCH_FLAGS" in (failure.value.hint or "")
    assert cache.entries() == []


@pytest.mark.parametrize(("cuda", "found"), [("'13.0'", "a build for CUDA 13.0"), ("None", "a build without CUDA")])
def test_another_build_of_torch_than_the_named_one_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str, found: str
) -> None:
    """pip goes on without an index that it cannot reach, and takes what PyPI has of the version."""
    right = False

    def install(command: list[str], *_: str) -> None:
        write_torch(Path(command[command.index("--target") + 1]), "2.11.0", "'12.6'" if right else cuda)

    monkeypatch.setattr(libraries, "run_installer", install)
    server, cache = make_server(tmp_path), Cache(tmp_path / "cache")
    repository = write_repository(tmp_path / "torch", "torch==2.11.0+cu126")
    with pytest.raises(LibraryMissing, match=f"is not installed: pip found {found} in its place") as failure:
        add_libraries(server, repository, cache)
    assert "https://download.pytorch.org/whl/cu126" in (failure.value.hint or "")
    assert "TORCH_FLAGS" in (failure.value.hint or "")
    assert cache.entries() == []
    right = True
    assert Path(add_libraries(server, repository, cache).variables[LIBRARIES]).is_dir()


def run_without_wheels(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was told, which finds no wheels of TensorRT."""
    seen: list[list[str]] = []

    def install(command: list[str], *_: str) -> None:
        seen.append(command)
        if "--no-binary" not in command:
            raise MissingError("no matching distribution")

    monkeypatch.setattr(libraries, "run_installer", install)
    return seen


@pytest.mark.parametrize("text", ["tensorrt==8.6.1", "tensorrt==10.16.1.11"])
def test_only_tensorrt_is_made_from_source_and_only_where_it_has_no_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    seen = run_without_wheels(monkeypatch)
    repository = write_repository(tmp_path / "gpu", text, "onnxruntime-gpu[cuda,cudnn]==1.26.0")
    add_libraries(make_server(tmp_path), repository, Cache(tmp_path / "cache"))
    first, second = seen
    for command in (first, second):
        assert command[command.index("--only-binary") + 1] == ":all:"
        assert command[-2:] == ["onnxruntime-gpu[cuda,cudnn]==1.26.0", text]
    sources = second[second.index("--no-binary") + 1].split(",")
    assert {"tensorrt", "tensorrt-libs", "tensorrt-bindings", "tensorrt-cu13", "tensorrt-cu13-libs"} <= set(sources)
    assert all(name.startswith("tensorrt") for name in sources)
    assert not {"tensorrt-cu12-bindings", "tensorrt-cu13-bindings"} & set(sources), "PyPI has wheels of these"


@pytest.mark.parametrize("text", ["tensorrt==8.6.0", "onnxruntime-gpu[cuda,cudnn]==1.26.0"])
def test_what_has_wheels_is_never_made_from_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    seen = run_without_wheels(monkeypatch)
    with pytest.raises(LibraryMissing, match="no matching distribution"):
        add_libraries(make_server(tmp_path), write_repository(tmp_path / "gpu", text), Cache(tmp_path / "cache"))
    assert len(seen) == 1


def test_wheels_of_tensorrt_are_taken_where_an_index_has_them(tmp_path: Path, commands: list[list[str]]) -> None:
    repository = write_repository(tmp_path / "gpu", "tensorrt==10.16.1.11")
    add_libraries(make_server(tmp_path), repository, Cache(tmp_path / "cache"))
    (command,) = commands
    assert "--no-binary" not in command
