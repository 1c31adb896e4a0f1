"""README.md of a folder of job bundles: how to run them on the device, and how the results come back."""

from __future__ import annotations

import shlex
import textwrap
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
    """The bundles, for a shell."""


def write_job_readme(
    path: Path,
    spec: TargetSpec,
    device: Target,
    bundles: Mapping[str, str],
    required: Mapping[str, str],
    rounds: int,
    arguments: Sequence[str],
) -> None:
    """`bundles` are the runtimes of all in job/, by name; `required` is what pip installs, by runtime.

    A Jetson's TensorRT is its system's. `arguments` are what `pack import` is told beside the target: the spec, and
    where its packages are.
    """
    is_jetson = device.kind == "jetson"
    own = [name for name, runtime in bundles.items() if runtime == TENSORRT]
    others = [name for name, runtime in bundles.items() if runtime != TENSORRT]
    own_packages = [packages for runtime, packages in required.items() if runtime == TENSORRT and not is_jetson]
    other_packages = [packages for runtime, packages in required.items() if runtime != TENSORRT]
    text = render_template(
        "job_readme.md.j2",
        name=spec.model.name,
        target=spec.target,
        device=device.name,
        is_jetson=is_jetson,
        rounds=rounds,
        others=_make_kind("venv", others, other_packages, is_alone=not own),
        tensorrt=_make_kind("venv-tensorrt", own, own_packages, is_alone=not others),
        arguments=shlex.join(arguments),
    )
    path.write_text(text, encoding="utf-8")


def _make_kind(python: str, bundles: Sequence[str], required: Sequence[str], is_alone: bool) -> Kind | None:
    """None where there are no such bundles; their names where there are others, as no pattern fits those alone: names
    of students begin with another word than the runtime's, and names of one runtime with that of another."""
    if not bundles:
        return None
    packages = shlex.join(dict.fromkeys(("numpy", *required)))
    lines = textwrap.wrap(" ".join(f"job/{name}" for name in bundles), 100, break_on_hyphens=False)
    return Kind(python, packages, "job/*/" if is_alone else " \\\n    ".join(lines))
