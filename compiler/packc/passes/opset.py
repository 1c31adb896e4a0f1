"""Lifts a graph to the opset in which an operator first exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

OLDEST_OPSET = 18
"""The oldest opset that onnxscript's converter understands."""


def refuse_opset(model: ir.Model) -> str | None:
    """Why the graph cannot be lifted to a newer opset; None when it can."""
    return refuse_older(model, OLDEST_OPSET, "fusions")


def refuse_older(model: ir.Model, oldest: int, what: str) -> str | None:
    """Why the graph's opset is too old for `what`; None when it is not."""
    opset = model.opset_imports.get("", 0)
    verb = "need" if what.endswith("s") else "needs"
    return None if opset >= oldest else f"the graph has opset {opset}, {what} {verb} {oldest} or later"


def raise_opset(model: ir.Model, opset: int) -> None:
    """Converts `model` in place when its opset is below `opset`."""
    from onnxscript.version_converter import convert_version

    if model.opset_imports[""] < opset:
        convert_version(model, opset)
    model.ir_version = max(model.ir_version or 0, IR_VERSIONS[opset])


def use_microsoft(model: ir.Model) -> None:
    """Lets nodes of ONNX Runtime's own domain stand in `model`."""
    model.opset_imports.setdefault(MICROSOFT, 1)


IR_VERSIONS = {20: 9, 23: 11}
"""The first IR version that allows each opset."""
