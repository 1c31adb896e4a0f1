"""How people run bundles on the device: the commands are run here, in stand-ins for the Pythons."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from package_parts import make_target_spec
from packc.package.job_readme import write_job_readme
from packc.runtimes import find_runtime
from packc.target import Target
from sources import device

H200 = replace(device("cuda", ("fp16",)), name="NVIDIA H200 SXM")

ORT = {"onnxruntime-cuda-fp16": "onnxruntime-cuda", "onnxruntime-cuda-fp32": "onnxruntime-cuda"}
TRT = {"tensorrt-fp16": "tensorrt", "tensorrt-int8": "tensorrt"}
STUDENTS = {"student3-onnxruntime-cuda-fp16": "onnxruntime-cuda", "student3-tensorrt-fp16": "tensorrt"}
MIXED = {
    **ORT,
    "onnxruntime-tensorrt-fp16": "onnxruntime-tensorrt",
    "torch-cuda-fp16-channels-last": "torch-cuda",
    **TRT,
    **STUDENTS,
}


def write_readme(
    folder: Path, bundles: Mapping[str, str], target: Target = H200, arguments: Sequence[str] = ("spec.toml",)
) -> str:
    required = {runtime: find_runtime(runtime).requirement for runtime in bundles.values()}
    required |= {"torch-cuda": "torch"} if "torch-cuda" in required else {}  # that which is here
    write_job_readme(folder / "README.md", make_target_spec(), target, bundles, required, 3, arguments)
    return (folder / "README.md").read_text()


def test_the_way_to_the_device_and_back(tmp_path: Path) -> None:
    check_golden("package/job_readme.md", write_readme(tmp_path, ORT))


def test_each_kind_of_bundle_has_a_python_and_a_loop(tmp_path: Path) -> None:
    check_golden("package/job_readme_of_two_kinds.md", write_readme(tmp_path, MIXED))


@pytest.mark.parametrize(
    "bundles",
    [
        ORT,
        TRT,
        MIXED,
        {"onnxruntime-fp32": "onnxruntime", "onnxruntime-tensorrt-fp16": "onnxruntime-tensorrt", **TRT},
        {"student3-onnxruntime-cuda-fp16": "onnxruntime-cuda", **TRT},
    ],
    ids=["one kind", "tensorrt alone", "mixed", "names within names", "no student but of one kind"],
)
def test_every_bundle_runs_once_in_the_python_that_has_its_runtime(tmp_path: Path, bundles: Mapping[str, str]) -> None:
    for name in bundles:
        (tmp_path / "job" / name).mkdir(parents=True)
    for name in ("venv", "venv-tensorrt"):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho {name} "$@" >> log\n')
        python.chmod(0o755)
    for loop in re.findall(r"^for bundle in .*?^done$", write_readme(tmp_path, bundles), re.MULTILINE | re.DOTALL):
        subprocess.run(["sh", "-euc", loop], cwd=tmp_path, check=True, timeout=60)
    runs = (tmp_path / "log").read_text().replace("//", "/").splitlines()
    pythons = {name: "venv-tensorrt" if runtime == "tensorrt" else "venv" for name, runtime in bundles.items()}
    assert sorted(runs) == sorted(f"{python} job/{name}/run.py --rounds 3" for name, python in pythons.items())


def test_tensorrts_bundles_run_where_tensorrt_is(tmp_path: Path) -> None:
    text = write_readme(tmp_path, TRT, arguments=("my spec.toml", "--out", "out"))
    assert "Bundles of TensorRT run in a Python that has it" in text
    assert "python3 -m venv venv-tensorrt\nvenv-tensorrt/bin/pip install numpy 'tensorrt>=8.6'\n" in text
    assert text.count("for bundle in") == text.count("for bundle in job/*/; do\n    venv-tensorrt/bin/python") == 1
    assert "pack import 'my spec.toml' --out out --target" in text


def test_a_jetsons_tensorrt_is_its_systems(tmp_path: Path) -> None:
    text = write_readme(tmp_path, TRT, device("jetson", ("fp16",)))
    assert "python3 -m venv --system-site-packages venv-tensorrt\nvenv-tensorrt/bin/pip install numpy\n" in text
    assert "tensorrt>=" not in text
