"""Runs an OpenVINO model on the CPU, for the runner of a job bundle; packc.jobs.job has the contract.

Copied into bundles as engine.py, so it imports nothing of packc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openvino as ov  # noqa: TID253 - this file runs in bundles, whose purpose is openvino

HINTS = {"fp32": "f32", "bf16": "bf16"}


def load(model: str, options: Mapping[str, Any], threads: int) -> Any:
    """An inference request of a model compiled for `threads` threads.

    Options: `precision`, "fp32" or "bf16", of what is not quantized; without a hint OpenVINO takes bf16 by itself where
    the CPU has it.
    """
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": HINTS[options["precision"]],
        "ENABLE_CPU_PINNING": False,  # several instances would be pinned to the same cores
    }
    return ov.Core().compile_model(model, "CPU", settings).create_infer_request()


def run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output of the model by name; the arrays are the caller's own."""
    found = session.infer(dict(inputs), share_inputs=True)
    return {port.any_name: array for port, array in found.items()}


def describe(session: Any) -> dict[str, str]:
    """The version of openvino."""
    return {"openvino": ov.__version__.split("-")[0]}
