"""Writes a table to benchmarks/results/<name>.<kind of CPU>.md with what a reader needs: machine, versions, date."""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packc.host import probe_host

RESULTS = Path(__file__).resolve().parents[1] / "results"
PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "nncf")
KINDS = (("amx", "amx_tile"), ("avx512-vnni", "avx512_vnni"), ("avx512", "avx512f"), ("avx2", "avx2"), ("arm", "asimd"))
"""Kinds of CPU whose figures stand side by side, and the flag that tells each; the first that fits."""
ISA_SHOWN = ("avx2", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def write_results(name: str, title: str, command: str, body: str, more_versions: str = "") -> Path:
    """Writes the file and prints `body`; returns the file's path."""
    print(body)
    RESULTS.mkdir(exist_ok=True)
    kind = next((kind for kind, flag in KINDS if flag in probe_host().isa), "other")
    path = RESULTS / f"{name}.{kind}.md"
    head = (
        f"# {title}\n\n{datetime.date.today().isoformat()}; {describe_machine()}; {describe_versions(more_versions)}."
    )
    path.write_text(f"{head}\n\n`{command}`:\n\n{body.rstrip()}\n", "utf-8")
    return path


def describe_machine() -> str:
    """`2 cores of an AMD EPYC (avx2), 25.2 GB, Linux`."""
    host = probe_host()
    isa = ", ".join(flag for flag in ISA_SHOWN if flag in host.isa) or host.arch
    memory = f", {host.memory_gb:g} GB" if host.memory_gb else ""
    return f"{host.units} cores of {host.name} ({isa}){memory}, {platform.system()}"


def describe_versions(more: str = "") -> str:
    """`Python 3.11.7, torch 2.13.0, ...`: what is installed of PACKAGES."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*found, *([more] if more else [])])
