"""Finds out what a value of a graph is by computing it: models write one padding mask in twenty ways.

A few small inputs that differ in what matters tell a mask, a row of positions or a length from anything else, whichever
operators made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[Any]

TOKEN_TYPES = ("INT32", "INT64", "BOOL")
"""Element types of ids and masks."""
VISIBLE = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
"""The mask that is probed with: three texts of five tokens, padded at the end."""
SILENT = 4
"""Log level: what a probe cannot compute is no news."""
MASKED_AT_MOST = -9000.0
"""What is added to the score of a token that nobody may see, at most; e to its power is 0 in fp32."""


def find_sources(value: ir.Value) -> list[ir.Value]:
    """The inputs of the graph whose content (not merely whose size) `value` depends on."""
    found, seen, waiting = [], {value}, [value]
    while waiting:
        node = waiting.pop().producer()
        if node is None or node.op_type == "Shape":
            continue
        for given in node.inputs:
            if given is not None and given not in seen:
                seen.add(given)
                waiting.append(given)
                if given.is_graph_input():
                    found.append(given)
    return [value, *found] if value.is_graph_input() else found


def compute_value(model: ir.Model, value: ir.Value, mask: Array = VISIBLE) -> Array | None:
    """What `value` is when every input [batch, sequence] of token ids and masks holds `mask`, and others hold zeros.

    None where it cannot be computed at these sizes.
    """
    import onnx_ir as ir
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = SILENT
    settings.intra_op_num_threads = 1
    try:
        graph = ir.convenience.extract(model.graph, list(model.graph.inputs), [value])
        part = ir.external_data.load_to_model(ir.Model(graph, ir_version=model.ir_version))
        probe = ir.to_proto(part).SerializeToString()
        session = ort.InferenceSession(probe, settings, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {given.name: _fill(given, mask) for given in graph.inputs})[0])
    except Exception:  # of whatever kind: then the value is nothing that a pass knows
        return None


def find_padding_mask(model: ir.Model, bias: ir.Value) -> ir.Value | None:
    """The input [batch, sequence] that alone decides `bias`, which hides the keys where it is 0 from every query.

    None where `bias` is something else: a causal mask, a bias of positions, a mask of several inputs.
    """
    sources = find_sources(bias)
    if len(sources) != 1 or not _is_tokens(sources[0]):
        return None
    added = compute_value(model, bias)
    if added is None or added.dtype.kind != "f" or added.ndim not in (2, 3, 4):
        return None
    rows, length = VISIBLE.shape
    try:
        spread = np.broadcast_to(added, (rows, 1, length, length))
    except ValueError:
        return None
    seen = np.broadcast_to(VISIBLE[:, None, None, :] != 0, spread.shape)
    is_mask = bool(np.all(spread[seen] == 0) and np.all(spread[~seen] <= MASKED_AT_MOST))
    return sources[0] if is_mask else None


def hides_nothing(model: ir.Model, bias: ir.Value) -> bool:
    """Whether `bias` is 0 whatever the inputs hold: the mask of a model that reads no padding."""
    if find_sources(bias):
        return False
    added = compute_value(model, bias)
    return added is not None and not added.any()


def is_each_position(model: ir.Model, indices: ir.Value, mask: Array = VISIBLE) -> bool:
    """Whether `indices` are 0, 1, 2, ... in each row, whatever the tokens are."""
    if find_sources(indices):
        return False
    found = compute_value(model, indices, mask)
    length = mask.shape[1]
    if found is None or found.size not in (length, mask.size):
        return False
    return bool(np.all(found.reshape(-1, length) == np.arange(length)))


def _fill(value: ir.Value, mask: Array) -> Array:
    """Zeros for an input; the mask where it takes token ids or a mask."""
    assert value.dtype is not None
    assert value.shape is not None
    if _is_tokens(value):
        return mask.astype(value.dtype.numpy())
    sizes = [size if isinstance(size, int) else mask.shape[min(axis, 1)] for axis, size in enumerate(value.shape)]
    return np.zeros(sizes, value.dtype.numpy())


def _is_tokens(value: ir.Value) -> bool:
    is_matrix = value.shape is not None and len(value.shape) == 2
    return is_matrix and value.dtype is not None and value.dtype.name in TOKEN_TYPES
