"""Moves the outlier channels of activations into the weights behind them, so that int8 can hold both.

One scale for a whole activation tensor is as coarse as its largest channel asks for. In encoders a few channels are 10
to 20 times larger than the rest. Each of them is divided by s and its row of the weights multiplied by s, which changes
nothing but the range: s = max(1, largest / (CAP x median channel's largest)), measured on the calibration samples.
After SmoothQuant (Xiao et al., 2023), with scales that touch outliers only. On all-MiniLM-L6-v2, int8 dynamic then
keeps 96 % of the ten nearest neighbours instead of 91 %, for about 5 % more time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.linear_layers import LinearLayer, find_linear_layers
from packc.samples import Sample, load_samples

if TYPE_CHECKING:
    import onnx_ir as ir

CAP = 1.5
"""Channels may be this much larger than the median channel."""

WORTHWHILE = 2.0
"""An activation whose largest scale is below this is left as it is."""

Floats = npt.NDArray[np.float32]


class SmoothOutliers:
    """No channel of an activation in front of a MatMul is far larger than its median channel, on calibration data."""

    name = "smooth_outliers"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = True

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return None if find_linear_layers(model) else "the graph has no MatMul with constant weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        samples = load_samples(context.calibration)
        if not samples:
            raise PassError(f"{self.name}: there are no calibration samples")
        groups: dict[ir.Value, list[LinearLayer]] = {}
        for layer in find_linear_layers(model):
            groups.setdefault(layer.activation, []).append(layer)
        largest = measure_channels(model, list(groups), samples, context.scratch)
        smoothed = 0
        for activation, layers in groups.items():
            scales = find_scales(largest[str(activation.name)])
            if scales.max() >= WORTHWHILE:
                _smooth(model, activation, layers, scales)
                smoothed += 1
        return PassReport(self.name, modified=smoothed > 0, fused=smoothed)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for layer in find_linear_layers(model):
            weights = layer.weights.const_value
            if weights is not None and not np.isfinite(weights.numpy()).all():
                raise PassError(f"{self.name}: the weights of {layer.node.name} are no longer finite")


def measure_channels(
    model: ir.Model, activations: list[ir.Value], samples: Sequence[Sample], scratch: Path
) -> Mapping[str, Floats]:
    """Largest magnitude of each channel (last axis) of `activations` over `samples`, by name."""
    import onnx_ir as ir
    import onnxruntime as ort

    graph = scratch / "measured.onnx"
    outputs = list(model.graph.outputs)
    extra = [value for value in activations if value not in outputs]
    model.graph.outputs.extend(extra)
    ir.save(model, graph, external_data=f"{graph.name}.data")
    for value in extra:
        model.graph.outputs.remove(value)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [str(value.name) for value in activations]
    largest: dict[str, Floats] = {}
    for sample in samples:
        for name, array in zip(names, session.run(names, dict(sample)), strict=True):
            channels = np.abs(array).reshape(-1, array.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest[name], channels) if name in largest else channels
    return largest


def find_scales(largest: Floats) -> Floats:
    """The divisor of each channel, at least 1."""
    limit = CAP * float(np.median(largest))
    if limit <= 0 or not np.isfinite(largest).all():
        return np.ones_like(largest)
    scales: Floats = np.maximum(1.0, largest / limit).astype(np.float32)
    return scales


def _smooth(model: ir.Model, activation: ir.Value, layers: list[LinearLayer], scales: Floats) -> None:
    """Divides `activation` by `scales` in front of `layers` and multiplies the rows of their weights."""
    import onnx_ir as ir

    divisor = ir.Value(name=f"{activation.name}_unscale", const_value=ir.tensor(1.0 / scales))
    divisor.shape, divisor.dtype = ir.Shape(scales.shape), ir.DataType.FLOAT
    model.graph.register_initializer(divisor)
    node = ir.node("Mul", [activation, divisor], name=f"{activation.name}_smooth")
    node.outputs[0].name = f"{activation.name}_smoothed"
    node.outputs[0].shape, node.outputs[0].type = activation.shape, activation.type
    model.graph.insert_before(layers[0].node, node)
    for layer in layers:
        assert layer.weights.const_value is not None
        scaled = ir.Value(
            name=f"{layer.node.name}_scaled_weights",
            const_value=ir.tensor(layer.weights.const_value.numpy() * scales[:, None]),
        )
        scaled.shape, scaled.type = layer.weights.shape, layer.weights.type
        model.graph.register_initializer(scaled)
        layer.node.replace_input_with(0, node.outputs[0])
        layer.node.replace_input_with(1, scaled)
        if not layer.weights.uses():
            del model.graph.initializers[str(layer.weights.name)]
