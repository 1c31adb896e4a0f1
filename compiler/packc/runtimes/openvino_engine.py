"""Runs an OpenVINO model on the CPU, for the runner of a job bundle; packc.jobs.job has the contract.

Copied into bundles as engine.py, so it imports nothing of packc.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # openvino would report that it was imported

import openvino as ov  # noqa: E402, TID253 - this file runs in bundles, whose purpose is openvino

HINTS = {"fp32": "f32", "bf16": "bf16"}


def load(model: str, options: Mapping[str, Any], threads: int) -> Any:
    """An inference request of a model compiled for `threads` threads.

    Options: `precision`, "fp32" or "bf16", of what is not quantized; without a hint OpenVINO takes bf16 by itself where
    the CPU has it. `exact_int8` (default false) has x86 CPUs without VNNI compute int8 products in floats, where no sum
    is cut off: for judging answers, not for timing. Raises RuntimeError where the CPU cannot compute in `precision`:
    OpenVINO takes fp32 then, without a word.
    """
    hint = HINTS[options["precision"]]
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
        "ENABLE_CPU_PINNING": False,  # several instances would be pinned to the same cores
    }
    if options.get("exact_int8", False):
        settings["LP_TRANSFORMS_MODE"] = "NO"
    compiled = ov.Core().compile_model(model, "CPU", settings)
    actual = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if actual != hint:
        raise RuntimeError(f"this CPU computes in {actual} what is asked for in {hint}")
    return compiled.create_infer_request()


def run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output of the model by name; the arrays are the caller's own."""
    found = session.infer(dict(inputs), share_inputs=True)
    return {port.any_name: array for port, array in found.items()}


def describe(session: Any) -> dict[str, str]:
    """The version of openvino."""
    return {"openvino": ov.__version__.split("-")[0]}
