"""A model and a device with just what serving choices look at."""

from __future__ import annotations

from pathlib import Path

from packc.ingest.source import SourceInfo, SourceModel
from packc.target import Target, TargetKind
from packc.tensors import TensorSpec


def source(*, batched: bool = True, dynamic: bool = True, weights_mib: float = 90.0) -> SourceModel:
    info = SourceInfo(
        origin="onnx",
        location="m.onnx",
        revision=None,
        fingerprint="",
        task="tensors",
        architecture=None,
        geometry=None,
        preprocessing=None,
        pooling="none",
        normalize=False,
        labels=(),
        parameters=0,
        weights_mib=weights_mib,
        trust_remote_code=False,
    )
    inputs = (TensorSpec("x", "int64", ("batch", "sequence" if dynamic else 32)),)
    outputs = (TensorSpec("y", "float32", ("batch", 8) if batched else (8,)),)
    return SourceModel(info, Path("m.onnx"), inputs, outputs, "y", 0.0, "stub")


def device(kind: TargetKind = "cpu", units: int = 4, memory_gb: float | None = 16.0) -> Target:
    return Target(
        id="t",
        name="t",
        kind=kind,
        arch="x86_64",
        isa=(),
        compute_capability=None,
        units=units,
        memory_gb=memory_gb,
        bandwidth_gb_s=None,
        dense_peak_tflops={},
        native=("fp32",),
        instances=(),
        notes=(),
        unsupported=None,
        sources={},
        is_here=True,
    )
