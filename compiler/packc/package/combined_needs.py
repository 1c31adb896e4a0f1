"""What artifacts of several GPUs need of a server, which has one library in one version: that of the first target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packc.extras import matches
from packc.package.engine_stamp import find_stamp

REQUIREMENT = "requirement"
"""The parameter of a configuration that tells what pip installs for the server."""
TENSORRT = "tensorrt=="


def settle_requirement(config: Any, model: Path, base: Any) -> str | None:
    """Why the artifact `model`, which `config` serves, cannot be loaded by a server of the `base`'s; None where it can.

    Programs and engines are bound to the version that made them, unless an engine is for later ones too. Graphs are
    not. What can be loaded requires what the base does from now on, since that is what is installed.
    """
    needed, there = read_requirement(config), read_requirement(base)
    if needed == there:
        return None
    if model.suffix != ".onnx" and not _takes_later(model, there):
        return (
            f"it needs {needed or 'no library'}, and a server of this repository has what the first target needs, "
            f"{there or 'none'}: build it again with that"
        )
    config.parameters.pop(REQUIREMENT, None)
    if there:
        config.parameters[REQUIREMENT].string_value = there
    return None


def brings_code(model: Path) -> bool:
    """Whether the artifact is an engine with code of its own, which a server has to allow."""
    stamp = find_stamp(model)
    return stamp is not None and stamp.is_version_compatible


def _takes_later(model: Path, requirement: str) -> bool:
    """Whether the artifact is an engine that the TensorRT of `requirement` loads too, as it is a later one."""
    stamp = find_stamp(model)
    if stamp is None or not stamp.is_version_compatible or not requirement.startswith(TENSORRT):
        return False
    return matches(requirement.removeprefix(TENSORRT), f">={stamp.tensorrt}")


def read_requirement(config: Any) -> str:
    """What pip installs for a server of the model; "" where servers have it all."""
    return str(config.parameters[REQUIREMENT].string_value) if REQUIREMENT in config.parameters else ""
