from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from packc.cache import Cache
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


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was told."""
    seen: list[list[str]] = []
    monkeypatch.setattr(libraries, "run_installer", lambda command, *_: seen.append(command))
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
    assert commands[0][-2:] == [NUMPY, "onnxruntime-gpu[cuda,cudnn]==1.26.0"]
    assert "--index-url" not in commands[0]


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
        f"torch==2.13.0, which {tmp_path / 'torch'} needs, is not installed: could not install torch==2.13.0\n"
        "  no space left"
    )
    assert "TORCH_FLAGS" in (failure.value.hint or "")
    assert cache.entries() == []


def test_tensorrt_may_be_made_of_what_pypi_only_names(tmp_path: Path, commands: list[list[str]]) -> None:
    repository = write_repository(tmp_path / "gpu", "tensorrt==10.16.1.11")
    add_libraries(make_server(tmp_path), repository, Cache(tmp_path / "cache"))
    assert commands[0][-2:] == [NUMPY, "tensorrt==10.16.1.11"]
    assert "--only-binary" not in commands[0]
