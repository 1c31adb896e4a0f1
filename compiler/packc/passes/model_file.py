"""ONNX files <-> onnx_ir models: weights above a limit lie beside the graph, and are read only when they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packc.ingest.export import EXTERNAL_DATA_BYTES

if TYPE_CHECKING:
    import onnx_ir as ir

MODEL_FILE = "model.onnx"


def load_model(path: Path) -> ir.Model:
    """The model at `path`, every node and value with a name of its own; external data stay on disk, mapped."""
    import onnx_ir as ir
    from onnx_ir.passes.common import NameFixPass

    model = ir.load(path)
    NameFixPass()(model)
    return model


def save_model(model: ir.Model, path: Path) -> bool:
    """Writes `model` to `path`, weights as `<name>.data` beside it when they are many; says whether they are.

    Streams the weights, so that no second copy of them is in memory.
    """
    import onnx_ir as ir

    tensors = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    is_large = sum(tensor.nbytes for tensor in tensors) > EXTERNAL_DATA_BYTES
    if is_large:
        ir.save(model, path, external_data=f"{path.name}.data")
    else:
        ir.external_data.load_to_model(model)
        ir.save(model, path)
    return is_large


def replace_model(model: ir.Model, path: Path) -> None:
    """Makes `model` the one at `path`, in place."""
    import onnx_ir as ir

    new = load_model(path)
    ir.external_data.load_to_model(new)
    model.graph = new.graph
    model.functions.clear()
    model.functions.update(new.functions)
    model.ir_version = new.ir_version
