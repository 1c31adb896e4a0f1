"""What an AOTInductor package for an NVIDIA GPU says of itself, and whether it can run here.

Copied into bundles and packages beside engine.py, so it imports nothing of packc.
"""

from __future__ import annotations

import json
import zipfile
from typing import NamedTuple

import torch  # noqa: TID253 - this file runs in bundles, whose purpose is torch

DEVICE = 0
"""The first GPU that this process may use."""


class Facts(NamedTuple):
    """What the compiler wrote into the package about it."""

    torch: str
    cuda: str
    capability: str
    gpu: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_facts(model: str) -> Facts:
    """Read without loading anything. Raises RuntimeError for a package that pack did not make for a GPU."""
    with zipfile.ZipFile(model) as archive:
        names = [name for name in archive.namelist() if name.endswith("wrapper_metadata.json")]
        facts = json.loads(archive.read(names[0])) if names else {}
    if "pack.capability" not in facts:
        raise RuntimeError(f"{model} does not say which GPU it was compiled for: pack did not make it for one")
    own = [facts[f"pack.{key}"] for key in ("torch", "cuda", "capability", "gpu")]
    return Facts(*own, *(tuple(json.loads(facts[f"pack.{key}"])) for key in ("inputs", "outputs")))


def check_device(facts: Facts) -> None:
    """Raises RuntimeError where the package cannot run: in this torch, or on what it finds here."""
    found, cuda = find_version(), torch.version.cuda
    if (facts.torch, facts.cuda) != (found, cuda):
        label = "cu" + facts.cuda.replace(".", "")
        raise RuntimeError(
            f"the model was compiled for torch {facts.torch} with CUDA {facts.cuda}, and this is torch {found} "
            f"{f'with CUDA {cuda}' if cuda else 'without CUDA'}: pip install torch=={facts.torch} "
            f"--index-url https://download.pytorch.org/whl/{label}, or build the package again"
        )
    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU: the model needs one, and a driver for it")
    capability = ".".join(map(str, torch.cuda.get_device_capability(DEVICE)))
    if facts.capability != capability:
        raise RuntimeError(
            f"the model was compiled for GPUs of compute capability {facts.capability} ({facts.gpu}), and "
            f"{torch.cuda.get_device_name(DEVICE)} has {capability}: build it on this GPU"
        )


def find_version() -> str:
    """Of torch, without the name of the build."""
    return str(torch.__version__).partition("+")[0]
