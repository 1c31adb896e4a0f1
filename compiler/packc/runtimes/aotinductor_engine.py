"""Runs an AOTInductor package on the CPU, for the runner of a job bundle; packc.jobs.job has the contract.

Copied into bundles and packages as engine.py, so it imports nothing of packc.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

os.environ.setdefault("AOTI_RUNTIME_CHECK_INPUTS", "1")  # a tensor of another shape is an error, not a wild read

import torch  # noqa: TID253 - this file runs in bundles, whose purpose is torch

ON_ONE_CPU = -1
CPUINFO = Path("/proc/cpuinfo")


class Facts(NamedTuple):
    """What the compiler wrote into the package about it."""

    torch: str
    isa: frozenset[str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Session(NamedTuple):
    """A loaded package, and the names of its tensors in order."""

    loader: Any
    facts: Facts


def load(model: str, options: Mapping[str, Any], threads: int) -> Session:
    """The package at `model`, loaded to compute on `threads` threads; it has no options.

    Raises RuntimeError where it would crash: in another version of torch than compiled it, and on a CPU without the
    instructions that it was compiled for.
    """
    facts = read_facts(model)
    found = torch.__version__.partition("+")[0]
    if facts.torch != found:
        raise RuntimeError(
            f"the model was compiled for torch {facts.torch} and this is torch {found}: "
            f"pip install torch=={facts.torch}, or build the package again"
        )
    if missing := sorted(facts.isa - read_cpu_flags()):
        raise RuntimeError(
            f"the model was compiled for CPUs with {', '.join(missing)}, which this one lacks: build it on this CPU"
        )
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to inputs
    loader = torch._C._aoti.AOTIModelPackageLoader(model, "model", False, 1, ON_ONE_CPU)
    return Session(loader, facts)


def run(session: Session, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output of the model by name; the arrays are the caller's own."""
    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in session.facts.inputs]
    with torch.inference_mode():
        found = session.loader.boxed_run(tensors)
    return {name: tensor.numpy() for name, tensor in zip(session.facts.outputs, found, strict=True)}


def describe(session: Session) -> dict[str, str]:
    """The version of torch."""
    return {"torch": torch.__version__.partition("+")[0]}


def read_facts(model: str) -> Facts:
    """Read without loading anything. Raises RuntimeError for a package that pack did not make."""
    with zipfile.ZipFile(model) as archive:
        names = [name for name in archive.namelist() if name.endswith("wrapper_metadata.json")]
        facts = json.loads(archive.read(names[0])) if names else {}
    if "pack.torch" not in facts:
        raise RuntimeError(f"{model} does not say which torch it was compiled for: pack did not make it")
    lists = {key: tuple(json.loads(facts[f"pack.{key}"])) for key in ("isa", "inputs", "outputs")}
    return Facts(facts["pack.torch"], frozenset(lists["isa"]), lists["inputs"], lists["outputs"])


def read_cpu_flags() -> frozenset[str]:
    """The flags of this machine's CPU, as /proc/cpuinfo spells them."""
    for line in CPUINFO.read_text("utf-8", "replace").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(flags.split())
    return frozenset()
