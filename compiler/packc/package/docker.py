"""The container side of a package: Dockerfile, compose.yaml, and the server's command line."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal

from packc.package.pipelines.choice import ChosenPipeline
from packc.package.render import render_template

TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:25.12-py3"
"""A release in NVIDIA's compatibility matrix (Triton user guide, introduction/compatibility)."""

BRINGS_CODE_FLAG = "--backend-config=tensorrt,version-compatible=true"
CACHE_BYTES = 64 * 2**20

PYTHON_PACKAGES: dict[ChosenPipeline, tuple[str, ...]] = {"text": ("tokenizers",), "image": ("pillow",), "none": ()}
"""What the Python steps of a pipeline import, beyond numpy, which Triton's image has."""


TORCH_INDICES = "https://download.pytorch.org/whl"
"""PyTorch's own indices, each with the builds of one label: "cpu" without CUDA, "cu130" for CUDA 13.0."""


def list_python_packages(pipeline: ChosenPipeline, library: str | None) -> tuple[str, ...]:
    """What must be beside the server; `library` runs the graph of a text pipeline that is one process."""
    return (*PYTHON_PACKAGES[pipeline], *([library] if library and pipeline == "text" else []))


def find_torch_index(requirement: str) -> str:
    """The index that has the build that `requirement` names: "torch==2.11.0+cu130"; without a label that for CPUs."""
    return f"{TORCH_INDICES}/{requirement.partition('+')[2] or 'cpu'}"


def strip_label(requirement: str) -> str:
    """What pip is asked for: of one index all builds have the label, and mirrors of PyPI have none with it."""
    return requirement.partition("+")[0]


def write_docker(
    folder: Path,
    name: str,
    target: str,
    packages: tuple[str, ...],
    requirement: str | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
    *,
    cache: bool = False,
    brings_code: bool = False,
    versions: Mapping[str, str] = {},
) -> None:
    """Writes Dockerfile and compose.yaml for the model `name`; `packages` are pinned to the versions that made the
    golden answers: those in `versions`, else what is here.

    `requirement` is the runtime's own, installed with all that it depends on: a build of torch or a version of
    onnxruntime-gpu.
    A `device` that is a GPU is given to the container. `cache` and `brings_code` are for `server_command`.
    """
    is_torch = requirement is not None and requirement.startswith("torch==")
    dockerfile = render_template(
        "Dockerfile.j2",
        name=name,
        target=target,
        image=TRITON_IMAGE,
        requirements=[_pin(package, versions.get(package)) for package in packages],
        torch=strip_label(requirement) if requirement and is_torch else None,
        library=None if is_torch else requirement,
        torch_flags=f"--index-url {find_torch_index(requirement or '')}",
        command=server_command("/models", cache=cache, brings_code=brings_code),
    )
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "compose.yaml").write_text(render_template("compose.yaml.j2", name=name, gpu=device == "gpu"))


def server_command(repository: str, *, cache: bool, brings_code: bool = False) -> list[str]:
    """A Triton that guesses nothing about the configuration and is ready only when every model is.

    An engine of TensorRT that is built for several of its versions `brings_code`, which a server has to allow.
    """
    command = [
        "tritonserver",
        f"--model-repository={repository}",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
    ]
    if brings_code:
        command.append(BRINGS_CODE_FLAG)
    return [*command, f"--cache-config=local,size={CACHE_BYTES}"] if cache else command


def _pin(package: str, version: str | None) -> str:
    try:
        return f"{package}=={version or metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package
