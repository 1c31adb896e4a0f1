from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from goldens import check_golden
from package_parts import make_target_spec
from packc.package.job_readme import write_job_readme
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt
from sources import device

H200 = replace(device("cuda", ("fp16",)), name="NVIDIA H200 SXM")


def test_the_way_to_the_device_and_back(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), H200, (OnnxRuntimeCuda.requirement,), 3, ("spec.toml",))
    check_golden("package/job_readme.md", path.read_text())


def test_tensorrts_bundles_run_where_tensorrt_is(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), H200, (TensorRt.requirement,), 3, ("my spec.toml", "--out", "out"))
    text = path.read_text()
    assert "(`job/tensorrt-*`) run in a Python that has it" in text
    assert "python3 -m venv venv\nvenv/bin/pip install numpy 'tensorrt>=8.6'\n" in text
    assert "pack import 'my spec.toml' --out out --target" in text


def test_a_jetsons_tensorrt_is_its_systems(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), device("jetson", ("fp16",)), (TensorRt.requirement,), 3, ("spec.toml",))
    text = path.read_text()
    assert "python3 -m venv --system-site-packages venv\nvenv/bin/pip install numpy\n" in text
    assert "tensorrt>=" not in text
