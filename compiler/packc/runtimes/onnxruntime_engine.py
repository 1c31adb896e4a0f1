"""Runs an ONNX model with ONNX Runtime on the CPU, for the runner of a job bundle; packc.jobs.job has the contract.

Copied into bundles as engine.py, so it imports nothing of packc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime as ort  # noqa: TID253 - this file runs in bundles, whose purpose is onnxruntime

LOG_ERRORS_ONLY = 3


def load(model: str, options: Mapping[str, Any], threads: int) -> Any:
    """A session with `threads` threads.

    Options: `spinning` (default true) keeps them awake between operators; `exact_int8` (default false) has x86 CPUs
    without VNNI compute int8 products as those with it do, in slower kernels: for judging answers, not for timing.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.get("spinning", True) else "0")
    if options.get("exact_int8", False):
        settings.add_session_config_entry("session.x64quantprecision", "1")
    settings.log_severity_level = LOG_ERRORS_ONLY
    return ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output of the graph by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def describe(session: Any) -> dict[str, str]:
    """The version of onnxruntime."""
    return {"onnxruntime": ort.__version__}
