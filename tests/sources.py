"""A SourceInfo and a Target from a few facts, for tests of plans."""

from __future__ import annotations

from packc.ingest.source import Geometry, SourceInfo
from packc.spec.model import Task
from packc.target import IsaFlag, Target, TargetKind
from packc.tensors import Precision


def source_info(task: Task, geometry: Geometry | None) -> SourceInfo:
    return SourceInfo(
        origin="huggingface",
        location="m",
        revision=None,
        fingerprint="f",
        task=task,
        architecture=None,
        geometry=geometry,
        preprocessing=None,
        pooling="none",
        normalize=False,
        labels=(),
        parameters=0,
        weights_mib=0.0,
        trust_remote_code=False,
    )


def device(
    kind: TargetKind = "cpu",
    native: tuple[Precision, ...] = ("fp32", "int8"),
    unsupported: str | None = None,
    isa: tuple[IsaFlag, ...] = (),
) -> Target:
    return Target(
        id="box",
        name="Box",
        kind=kind,
        arch="x86-64",
        isa=isa,
        compute_capability=None,
        units=4,
        memory_gb=None,
        bandwidth_gb_s=None,
        dense_peak_tflops={},
        native=native,
        instances=(),
        notes=(),
        unsupported=unsupported,
        sources={},
        is_here=True,
    )
