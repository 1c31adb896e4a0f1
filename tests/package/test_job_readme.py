from __future__ import annotations

from pathlib import Path

from goldens import check_golden
from package_parts import make_target_spec
from packc.package.job_readme import write_job_readme
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt


def test_the_way_to_the_device_and_back(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), "NVIDIA H200 SXM", (OnnxRuntimeCuda.requirement,), 3)
    check_golden("package/job_readme.md", path.read_text())


def test_tensorrts_bundles_run_where_tensorrt_is(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), "Jetson Orin Nano", (TensorRt.requirement,), 3)
    assert "(`job/tensorrt-*`) run in a Python that has it" in path.read_text()
