"""The container side of a package: Dockerfile, compose.yaml, and the server's command line."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Literal

from packc.package.pipelines.choice import ChosenPipeline
from packc.package.render import render_template
from packc.spec.model import TargetSpec

TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:25.12-py3"
"""A release in NVIDIA's compatibility matrix (Triton user guide, introduction/compatibility)."""

CACHE_BYTES = 64 * 2**20

PYTHON_PACKAGES: dict[ChosenPipeline, tuple[str, ...]] = {"text": ("tokenizers",), "image": ("pillow",), "none": ()}
"""What the Python steps of a pipeline import, beyond numpy, which Triton's image has."""


TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of builds without CUDA."""


def list_python_packages(pipeline: ChosenPipeline, library: str | None) -> tuple[str, ...]:
    """What must be beside the server; `library` runs the graph of a text pipeline that is one process."""
    return (*PYTHON_PACKAGES[pipeline], *([library] if library and pipeline == "text" else []))


def write_docker(
    folder: Path,
    spec: TargetSpec,
    packages: tuple[str, ...],
    requirement: str | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
) -> None:
    """Writes Dockerfile and compose.yaml; `packages` are pinned to the versions that made the golden answers.

    `requirement` is the runtime's own, installed with all that it depends on: a version of torch or of onnxruntime-gpu.
    A `device` that is a GPU is given to the container.
    """
    name = spec.model.name
    is_torch = requirement is not None and requirement.startswith("torch==")
    dockerfile = render_template(
        "Dockerfile.j2",
        name=name,
        target=spec.target,
        image=TRITON_IMAGE,
        requirements=[_pin(package) for package in packages],
        torch=requirement if is_torch else None,
        library=None if is_torch else requirement,
        torch_flags=f"--index-url {TORCH_INDEX}",
        command=server_command("/models", cache=spec.serve.cache),
    )
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "compose.yaml").write_text(render_template("compose.yaml.j2", name=name, gpu=device == "gpu"))


def server_command(repository: str, *, cache: bool) -> list[str]:
    """A Triton that guesses nothing about the configuration and is ready only when every model is."""
    command = [
        "tritonserver",
        f"--model-repository={repository}",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
    ]
    return [*command, f"--cache-config=local,size={CACHE_BYTES}"] if cache else command


def _pin(package: str) -> str:
    try:
        return f"{package}=={metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package
