"""README.md of a folder of job bundles: how to run them on the device, and how the results come back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from packc.package.render import render_template
from packc.spec.model import TargetSpec

SPEC_FILE = "spec.toml"


def write_job_readme(path: Path, spec: TargetSpec, device: str, requirements: Sequence[str], rounds: int) -> None:
    """`device` is what people call it; `requirements` are those of the bundles' runtimes, as pip writes them."""
    text = render_template(
        "job_readme.md.j2",
        name=spec.model.name,
        target=spec.target,
        device=device,
        requirements=[shlex.quote(requirement) for requirement in requirements],
        rounds=rounds,
        names_tensorrt=any(requirement.startswith("tensorrt") for requirement in requirements),
        spec=SPEC_FILE,
    )
    path.write_text(text, encoding="utf-8")
