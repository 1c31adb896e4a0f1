"""A TargetSpec from a few sections, for tests of the stages that read one."""

from __future__ import annotations

from packc.spec.model import (
    BudgetSection,
    CalibrationSection,
    ModelSection,
    QualitySection,
    ServeSection,
    TargetSpec,
    WorkloadSection,
)
from packc.spec.optimize import OptimizeSection


def target_spec(
    budget: BudgetSection | None = None,
    quality: QualitySection | None = None,
    optimize: OptimizeSection | None = None,
    workload: WorkloadSection | None = None,
) -> TargetSpec:
    return TargetSpec(
        target="cpu",
        profile="host",
        model=ModelSection(name="m", source="m.onnx"),
        workload=workload or WorkloadSection(),
        budget=budget or BudgetSection(),
        quality=quality or QualitySection(),
        calibration=CalibrationSection(),
        optimize=optimize or OptimizeSection(),
        serve=ServeSection(),
    )
