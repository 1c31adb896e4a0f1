"""README.md of a folder of job bundles: how to run them on the device, and how the results come back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from packc.package.render import render_template
from packc.spec.model import TargetSpec
from packc.target import Target


def write_job_readme(
    path: Path, spec: TargetSpec, device: Target, requirements: Sequence[str], rounds: int, arguments: Sequence[str]
) -> None:
    """`requirements` are those of the bundles' runtimes, as pip writes them; a Jetson's TensorRT is its system's.

    `arguments` are what `pack import` is told beside the target: the spec, and where its packages are.
    """
    is_jetson = device.kind == "jetson"
    names_tensorrt = any(requirement.startswith("tensorrt") for requirement in requirements)
    wanted = [r for r in requirements if not (is_jetson and r.startswith("tensorrt"))]
    text = render_template(
        "job_readme.md.j2",
        name=spec.model.name,
        target=spec.target,
        device=device.name,
        is_jetson=is_jetson,
        requirements=[shlex.quote(requirement) for requirement in wanted],
        rounds=rounds,
        names_tensorrt=names_tensorrt,
        arguments=shlex.join(arguments),
    )
    path.write_text(text, encoding="utf-8")
