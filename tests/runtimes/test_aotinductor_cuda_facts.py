from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from packc.runtimes import aotinductor_cuda_facts as facts
from torch_cuda_package import write_package
from torch_cuda_stub import StubTorch


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (StubTorch("2.13.0+cu130"), r"for torch 2.11.0 with CUDA 13.0, and this is torch 2.13.0 with CUDA 13.0"),
        (StubTorch("2.11.0+cu126", "12.6"), r"torch 2.11.0 with CUDA 12.6: pip install .* https://\S+/whl/cu130, or"),
        (StubTorch("2.11.0+cpu", None), r"this is torch 2.11.0 without CUDA: pip install torch==2.11.0"),
        (StubTorch(capability=(8, 9)), r"capability 9.0 \(NVIDIA H100\), and NVIDIA H200 has 8.9: build it"),
    ],
)  # fmt: skip
def test_what_would_crash_is_refused(
    found: StubTorch, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "torch", found)
    with pytest.raises(RuntimeError, match=why):
        facts.check_device(facts.read_facts(write_package(tmp_path / "model.pt2")))


def test_without_a_gpu_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = StubTorch()
    stub.cuda.is_available = lambda: False
    monkeypatch.setattr(facts, "torch", stub)
    with pytest.raises(RuntimeError, match="PyTorch finds no GPU"):
        facts.check_device(facts.read_facts(write_package(tmp_path / "model.pt2")))


def test_what_fits_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "torch", StubTorch())
    told = facts.read_facts(write_package(tmp_path / "model.pt2"))
    facts.check_device(told)
    assert told == facts.Facts("2.11.0", "13.0", "9.0", "NVIDIA H100", ("x",), ("y",))


def test_a_package_for_cpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="pack did not make it for one"):
        facts.read_facts(write_package(tmp_path / "m.pt2", {"pack.torch": "2.11.0", "pack.isa": "[]"}))


def test_it_imports_only_what_a_device_has() -> None:
    tree = ast.parse(Path(facts.__file__).read_text("utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {(name or "").split(".")[0] for name in imported} - sys.stdlib_module_names == {"torch"}
