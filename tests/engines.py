"""A TensorRT engine as pack sees it: files of a few bytes, and the stamp beside the plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packc.tensors import TensorSpec


def make_stamp(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], profiles: Sequence[str] = (), **changes: Any
) -> dict[str, Any]:
    """The facts of an engine of TensorRT 8.6.0 for an H200, whose integers have 32 bits."""

    def bind(tensors: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        return [
            {
                "name": tensor.name,
                "dtype": tensor.dtype.replace("int64", "int32"),
                "dims": [size if isinstance(size, int) else -1 for size in tensor.shape],
            }
            for tensor in tensors
        ]

    facts = {
        "tensorrt": "8.6.0",
        "dialect": 8,
        "device": "NVIDIA H200",
        "compute_capability": "9.0",
        "driver": "570.86.15",
        "cuda": "12.8",
        "os": "Linux x86_64",
        "profiles": list(profiles),
        "options": {"precision": "fp16"},
        "inputs": bind(inputs),
        "outputs": bind(outputs),
        "build_s": 41.6,
    }
    return {**facts, **changes}


def write_engine(folder: Path, facts: dict[str, Any]) -> Path:
    """Writes model.plan and its stamp; the plan."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(facts))
    (folder / "model.layers.json").write_text("{}")
    plan = folder / "model.plan"
    plan.write_bytes(b"engine")
    return plan
