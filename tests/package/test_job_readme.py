from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from goldens import check_golden
from package_parts import make_target_spec
from packc.package.job_readme import write_job_readme
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt
from sources import device

ORT = {"onnxruntime-cuda": OnnxRuntimeCuda.requirement}
TRT = {"tensorrt": TensorRt.requirement}
H200 = replace(device("cuda", ("fp16",)), name="NVIDIA H200 SXM")


def test_the_way_to_the_device_and_back(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), H200, ORT, 3, ("spec.toml",))
    check_golden("package/job_readme.md", path.read_text())


def test_each_kind_of_bundle_has_a_python_and_a_loop(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), H200, {**ORT, "torch-cuda": "torch", **TRT}, 3, ("spec.toml",))
    check_golden("package/job_readme_of_two_kinds.md", path.read_text())


def test_tensorrts_bundles_run_where_tensorrt_is(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), H200, TRT, 3, ("my spec.toml", "--out", "out"))
    text = path.read_text()
    assert "Bundles of TensorRT run in a Python that has it" in text
    assert "python3 -m venv venv-tensorrt\nvenv-tensorrt/bin/pip install numpy 'tensorrt>=8.6'\n" in text
    assert text.count("for bundle in") == text.count("for bundle in job/*/; do venv-tensorrt/bin/python") == 1
    assert "pack import 'my spec.toml' --out out --target" in text


def test_a_jetsons_tensorrt_is_its_systems(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_job_readme(path, make_target_spec(), device("jetson", ("fp16",)), TRT, 3, ("spec.toml",))
    text = path.read_text()
    assert "python3 -m venv --system-site-packages venv-tensorrt\nvenv-tensorrt/bin/pip install numpy\n" in text
    assert "tensorrt>=" not in text
