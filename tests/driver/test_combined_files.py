"""The container side of a combined package; test_combine.py has what else lies beside its repository."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from engines import make_stamp, write_engine
from gpu_packages import change, write_measured
from packc.cache import Cache
from packc.candidate import OptionValue
from packc.driver.combine import combine_targets
from packc.driver.endings import BuildOptions, TargetResult
from packc.package.docker import BRINGS_CODE_FLAG
from packc.package.model_config import add_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import FileContent, TritonModel, write_models
from packc.runtimes.tensorrt import TensorRt
from packc.target_profiles import find_target
from served_packages import X, Y

COMPATIBLE: Mapping[str, OptionValue] = {"precision": "fp16", "version_compatible": True}


def write_engine_package(folder: Path, target: str, version: str, options: Mapping[str, OptionValue]) -> Path:
    """What a build with a GPU leaves whose repository has an engine of that TensorRT."""
    package = write_measured(folder, target, 2.0)
    stamp = make_stamp((X,), (Y,), tensorrt=version, options=dict(options))
    plan = write_engine(folder / f"{target}-engine", stamp)
    plan.write_bytes(f"engine for {target}".encode())
    config = new_config("tiny", 8)
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    add_instances(config, 1, "gpu")
    TensorRt().configure_triton(config, {"tensorrt": version}, 1)
    files: dict[str, FileContent] = {"1/model.plan": plan, "1/model.json": plan.with_suffix(".json")}
    shutil.rmtree(package / "model_repository")
    write_models((TritonModel(config, files),), package / "model_repository")
    change(package)
    return package


def write_program_package(folder: Path, target: str, requirement: str) -> Path:
    """What a build with a GPU leaves whose repository runs a program of that build of torch in a Python model."""
    package = write_measured(folder, target, 2.0)
    config = new_config("tiny", 8)
    config.backend = "python"
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    for name, value in {"engine_options": "{}", "model": "model.pt2", "requirement": requirement}.items():
        config.parameters[name].string_value = value
    program = folder / f"{target}.pt2"
    program.write_text(target)
    source = "class TritonPythonModel:\n    def execute(self, requests): ...\n"
    files: dict[str, FileContent] = {"1/model.pt2": program, "1/model.py": source, "1/engine.py": ""}
    shutil.rmtree(package / "model_repository")
    write_models((TritonModel(config, files),), package / "model_repository")
    change(package)
    return package


def combine(folder: Path) -> TargetResult:
    """Of an H200 and an L4, none of which is here."""
    profiles = {"h200": "nvidia-h200-sxm", "l4": "nvidia-l4"}
    named = [(target, replace(find_target(profile, folder), is_here=False)) for target, profile in profiles.items()]
    return combine_targets("fleet", named, folder, BuildOptions(), Cache(folder / "cache"))


@pytest.mark.parametrize("bringing", ["l4", "h200", None])
def test_the_image_allows_the_code_of_every_targets_engine(tmp_path: Path, bringing: str | None) -> None:
    for target in ("h200", "l4"):
        write_engine_package(tmp_path, target, "10.16.1.11", COMPATIBLE if target == bringing else {})
    package = combine(tmp_path).folder
    dockerfile, readme = (package / "Dockerfile").read_text(), (package / "README.md").read_text()
    assert dockerfile.startswith("# tiny for fleet: ")
    assert (BRINGS_CODE_FLAG in dockerfile) == (bringing is not None)
    assert ("The engine of `l4` brings code of its own" in readme) == (bringing == "l4")
    assert "driver: nvidia" in (package / "compose.yaml").read_text()


@pytest.mark.parametrize(("options", "fits"), [(COMPATIBLE, True), ({}, False)])
def test_an_engine_of_another_version_is_there_only_where_it_can_be_loaded(
    tmp_path: Path, options: Mapping[str, OptionValue], fits: bool
) -> None:
    write_engine_package(tmp_path, "h200", "10.16.1.11", {})
    write_engine_package(tmp_path, "l4", "10.13.0.35", options)
    _, l4 = combine(tmp_path).manifest.combined
    assert (l4.file, l4.chosen_by) == (("model.l4.plan", "compute capability") if fits else (None, ""))
    reason = (
        "it needs tensorrt==10.13.0.35, and a server of this repository has what the first target needs, "
        "tensorrt==10.16.1.11: build it again with that"
    )
    assert l4.remark == ("" if fits else reason)


def test_one_build_of_torch_is_installed_and_programs_of_another_are_left_out(
    tmp_path: Path,
) -> None:
    write_program_package(tmp_path, "h200", "torch==2.11.0+cu130")
    write_program_package(tmp_path, "l4", "torch==2.11.0+cu130")
    result = combine(tmp_path)
    assert result.manifest.combined[1].file == "model.l4.pt2"
    assert "RUN pip install --no-cache-dir ${TORCH_FLAGS} torch==2.11.0\n" in (result.folder / "Dockerfile").read_text()
    shutil.rmtree(tmp_path / "l4")
    write_program_package(tmp_path, "l4", "torch==2.13.0+cu130")
    (_, l4) = combine(tmp_path).manifest.combined
    assert l4.remark.startswith("it needs torch==2.13.0+cu130, and a server of this repository has")


def test_what_the_first_target_was_made_with_is_what_is_installed(tmp_path: Path) -> None:
    package = write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "l4", 3.0)
    config = package / "model_repository" / "tiny" / "config.pbtxt"
    config.write_text(config.read_text() + "response_cache { enable: true }\n")
    change(package)
    other = tmp_path / "l4" / "model_repository" / "tiny" / "config.pbtxt"
    other.write_text(config.read_text())
    change(tmp_path / "l4")
    dockerfile = (combine(tmp_path).folder / "Dockerfile").read_text()
    assert "--cache-config=local" in dockerfile
    assert "RUN" not in dockerfile, "the image has what the native backend loads"
