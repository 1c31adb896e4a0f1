"""README.md of a folder of job bundles: how to run them on the device, and how the results come back."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packc.package.render import render_template
from packc.spec.model import TargetSpec
from packc.target import Target

TENSORRT = "tensorrt"


@dataclass(frozen=True, slots=True)
class Kind:
    """Bundles that run in one Python."""

    python: str
    """Folder of its virtual environment."""
    packages: str
    """What pip installs there, for a shell."""
    folders: str
    """Pattern of the bundles, for a shell."""


def write_job_readme(
    path: Path, spec: TargetSpec, device: Target, required: Mapping[str, str], rounds: int, arguments: Sequence[str]
) -> None:
    """`required` is what pip installs, by the runtime of the bundles; a Jetson's TensorRT is its system's.

    `arguments` are what `pack import` is told beside the target: the spec, and where its packages are.
    """
    others = {runtime: packages for runtime, packages in required.items() if runtime != TENSORRT}
    names_tensorrt = TENSORRT in required
    is_jetson = device.kind == "jetson"
    own = {} if is_jetson or not names_tensorrt else {TENSORRT: required[TENSORRT]}
    text = render_template(
        "job_readme.md.j2",
        name=spec.model.name,
        target=spec.target,
        device=device.name,
        is_jetson=is_jetson,
        rounds=rounds,
        others=_make_kind("venv", others, [f"{name}-*" for name in others] if names_tensorrt else ["*"]),
        tensorrt=_make_kind("venv-tensorrt", own, [f"{TENSORRT}-*"] if others else ["*"]),
        names_others=bool(others),
        names_tensorrt=names_tensorrt,
        arguments=shlex.join(arguments),
    )
    path.write_text(text, encoding="utf-8")


def _make_kind(python: str, required: Mapping[str, str], patterns: Sequence[str]) -> Kind:
    packages = dict.fromkeys(("numpy", *required.values()))
    return Kind(python, shlex.join(packages), " ".join(f"job/{pattern}/" for pattern in patterns))
