"""The smallest graphs that passes change, written as text, and what is needed to run and compare them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import NameFixPass

from packc.candidate import OptionValue
from packc.ingest.source import Geometry
from packc.passes.graph_pass import GraphPass, PassContext, PassReport
from packc.samples import save_samples

Array = npt.NDArray[np.generic]

TINY = Geometry(layers=1, heads=2, hidden=8, ffn=16)


def parse_graph(text: str, weights: Mapping[str, Array] | None = None, opset: int = 18) -> ir.Model:
    """A model from ONNX's text form of a graph, `weights` as its initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(proto, full_check=True)
    model = ir.from_proto(proto)
    NameFixPass()(model)  # as load_model does
    return model


def random_weights(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make_context(
    tmp_path: Path,
    geometry: Geometry | None = TINY,
    samples: Sequence[Mapping[str, Array]] = (),
    **options: OptionValue,
) -> PassContext:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    calibration = tmp_path / "calibration.npz"
    save_samples(calibration, samples)
    return PassContext(geometry, options, calibration, scratch)


def apply_pass(graph_pass: GraphPass, model: ir.Model, context: PassContext) -> PassReport:
    """Runs the pass with its checks, as the worker does."""
    assert graph_pass.requires(model, context) is None
    report = graph_pass.apply(model, context)
    graph_pass.ensures(model, context)
    return report


def run_model(model: ir.Model, **inputs: Array) -> list[npt.NDArray[np.float32]]:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)  # type: ignore[no-any-return]


def evaluate_model(model: ir.Model, **inputs: Array) -> list[npt.NDArray[np.float32]]:
    """What the graph computes by the definition of its operators: the same on every CPU, which int8 kernels are not."""
    return ReferenceEvaluator(ir.to_proto(model)).run(None, inputs)  # type: ignore[return-value]


def count_nodes(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


ATTENTION = """
agraph (float[batch, length, 8] x, int64[batch, length] mask) => (float[batch, length, 8] y)
<int64[4] split = {0, 0, 2, 4}, int64[3] join = {0, 0, 8}, int64[2] axes = {1, 2},
 float keep = {0.0}, float drop = {-3.4e38}, float scale = {0.5}> {
   q0 = MatMul(x, wq)
   q1 = Reshape(q0, split)
   q = Transpose<perm = [0, 2, 1, 3]>(q1)
   k0 = MatMul(x, wk)
   k1 = Reshape(k0, split)
   k = Transpose<perm = [0, 2, 3, 1]>(k1)
   v0 = MatMul(x, wv)
   v1 = Reshape(v0, split)
   v = Transpose<perm = [0, 2, 1, 3]>(v1)
   visible0 = Cast<to = 9>(mask)
   visible = Unsqueeze(visible0, axes)
   bias = Where(visible, keep, drop)
   scores0 = MatMul(q, k)
   scores1 = Mul(scores0, scale)
   scores = Add(scores1, bias)
   weights = Softmax<axis = -1>(scores)
   o0 = MatMul(weights, v)
   o1 = Transpose<perm = [0, 2, 1, 3]>(o0)
   y = Reshape(o1, join)
}
"""
"""Attention of two heads of 4 with a padding mask of shape [batch, 1, 1, length]."""


def make_attention(text: str = ATTENTION) -> ir.Model:
    return parse_graph(text, {f"w{name}": random_weights(8, 8, seed=i) for i, name in enumerate("qkv")})
