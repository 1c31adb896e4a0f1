from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from goldens import check_golden
from packc.package.docker import list_python_packages, server_command, write_docker


def test_files(tmp_path: Path) -> None:
    write_docker(tmp_path, "Tiny", "cpu", ("tokenizers",), cache=True)
    dockerfile = (tmp_path / "Dockerfile").read_text()
    assert f"tokenizers=={metadata.version('tokenizers')}" in dockerfile
    check_golden("package/Dockerfile", re.sub(r"==[\d.]+", "==VERSION", dockerfile))
    check_golden("package/compose.yaml", (tmp_path / "compose.yaml").read_text())


def test_nothing_is_installed_for_tensors(tmp_path: Path) -> None:
    write_docker(tmp_path, "tiny", "cpu", ())
    assert "RUN" not in (tmp_path / "Dockerfile").read_text()


def test_a_package_that_is_not_installed_is_not_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", refuse)
    write_docker(tmp_path, "tiny", "cpu", ("pillow",))
    assert "--no-deps pillow\n" in (tmp_path / "Dockerfile").read_text()


def test_cache_only_when_it_is_wanted() -> None:
    assert not any("cache" in word for word in server_command("r", cache=False))
    assert server_command("r", cache=True)[-1] == "--cache-config=local,size=67108864"


def test_an_engine_that_brings_code_needs_the_servers_leave(tmp_path: Path) -> None:
    flag = "--backend-config=tensorrt,version-compatible=true"
    assert server_command("r", cache=True, brings_code=True)[-2] == flag
    write_docker(tmp_path, "tiny", "cpu", (), device="gpu", brings_code=True)
    assert f'"{flag}"' in (tmp_path / "Dockerfile").read_text()
    write_docker(tmp_path, "tiny", "cpu", (), device="gpu")
    assert flag not in (tmp_path / "Dockerfile").read_text()


def test_python_packages() -> None:
    assert list_python_packages("text", None) == ("tokenizers",)
    assert list_python_packages("text", "onnxruntime") == ("tokenizers", "onnxruntime")
    assert list_python_packages("image", "onnxruntime") == ("pillow",)
    assert list_python_packages("none", None) == ()


def test_a_build_of_torch_for_gpus_comes_from_the_index_of_its_cuda(tmp_path: Path) -> None:
    write_docker(tmp_path, "tiny", "cpu", (), "torch==2.11.0+cu130", "gpu")
    lines = (tmp_path / "Dockerfile").read_text().splitlines()
    assert 'ARG TORCH_FLAGS="--index-url https://download.pytorch.org/whl/cu130"' in lines
    assert "RUN pip install --no-cache-dir ${TORCH_FLAGS} torch==2.11.0" in lines


def test_torch_comes_from_an_index_that_can_be_named(tmp_path: Path) -> None:
    write_docker(tmp_path, "tiny", "cpu", ("tokenizers",), "torch==2.13.0")
    lines = (tmp_path / "Dockerfile").read_text().splitlines()
    assert 'ARG TORCH_FLAGS="--index-url https://download.pytorch.org/whl/cpu"' in lines
    assert "RUN pip install --no-cache-dir ${TORCH_FLAGS} torch==2.13.0" in lines
