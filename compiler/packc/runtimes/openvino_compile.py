"""ONNX -> OpenVINO IR, quantized by NNCF where the step says so; runs in packc.runtimes.compile_worker."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from packc.candidate import OptionValue
from packc.errors import PackError
from packc.ingest.source import Geometry
from packc.samples import Array, Sample, iter_samples

if TYPE_CHECKING:
    from packc.runtimes.compile import CompileRequest

MODEL_FILE = "model.xml"
HINTS = {"fp32": "f32", "bf16": "bf16"}
BATCH = 16
"""Calibration samples in one call, at most."""


def compile_model(request: CompileRequest) -> tuple[str, ...]:
    """Writes model.xml and model.bin. The step's options:

    precision       "fp32" or "bf16": what is not quantized will run in
    quantize        "" (none), "weights" (int8 weights, activations as they are) or "full" (NNCF post-training)
    transformer     whether NNCF treats attention and LayerNorm as a transformer's, and smooths activations
    exclude         "ffn_down" keeps the second projections of feed-forward blocks as they are; names of ONNX nodes
                    (MatMul) keep those
    overflow_fix    keeps weights in 7 bits, for x86 CPUs without VNNI
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # openvino and nncf then send nothing
    import openvino as ov

    options = request.step.options
    model = ov.convert_model(str(request.model))
    match options.get("quantize", ""):
        case "":
            made = model
        case "weights":
            made = _compress_weights(model)
        case "full":
            made = _quantize(model, request)
        case other:
            raise PackError(f"quantize={other}: there are only quantize=weights and quantize=full")
    path = str(request.out / MODEL_FILE)
    ov.save_model(made, path, compress_to_fp16=False)
    return _check_attention(path, request.geometry, str(options["precision"]))


def _check_attention(path: str, geometry: Geometry | None, precision: str) -> tuple[str, ...]:
    """A remark where OpenVINO, compiling for this CPU in `precision`, leaves attention in separate operators."""
    import openvino as ov

    if geometry is None:
        return ()
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": HINTS[precision]})
    layers = [str(node.get_rt_info()["layerType"].astype(str)) for node in compiled.get_runtime_model().get_ops()]
    separate = layers.count("Softmax")
    if not separate:
        return ()
    return (f"openvino: {separate} of {geometry.layers} attentions run as separate operators on this CPU",)


def _compress_weights(model: Any) -> Any:
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)


def _quantize(model: Any, request: CompileRequest) -> Any:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    logging.getLogger("nncf").setLevel(logging.ERROR)
    options = request.step.options
    found = iter_samples(request.calibration) if request.calibration else iter(())
    samples = list(join_samples(found) if is_batched(model) else found)
    if not samples:
        raise PackError("quantize=full: there are no calibration samples")
    ignored = find_ignored(model, options.get("exclude", ""), request)
    return nncf.quantize(
        model,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if options.get("transformer") else None,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(names=ignored) if ignored else None,
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE if options.get("overflow_fix") else OverflowFix.DISABLE
        ),
    )


def is_batched(model: Any) -> bool:
    """Whether the first axis of every input is open, so that samples can be joined along it."""
    shapes = [port.partial_shape for port in model.inputs]
    return all(shape.rank.is_static and len(shape) > 0 and shape[0].is_dynamic for shape in shapes)


def join_samples(samples: Iterable[Sample]) -> Iterator[dict[str, Array]]:
    """Samples of equal shapes as batches of up to BATCH: NNCF looks at 128 sentences in a third of the time.

    No sample is padded, so its ranges stay its own.
    """
    groups: dict[object, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(tuple((name, array.shape) for name, array in sample.items()), []).append(sample)
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            part = group[start : start + BATCH]
            yield {name: np.concatenate([sample[name] for sample in part]) for name in part[0]}


def find_ignored(model: Any, exclude: OptionValue, request: CompileRequest) -> list[str]:
    """Names of the operators that `exclude` keeps out of quantization. Raises PackError for one that is not there."""
    match exclude:
        case "":
            return []
        case "ffn_down":
            return find_ffn_down(model, request.geometry)
        case tuple() as names:
            return find_layers(model, names, request.model)
        case other:
            raise PackError(f"exclude={other}: there are ffn_down and the names of layers")


def find_layers(model: Any, names: Sequence[str], graph: Path) -> list[str]:
    """What the products of the ONNX nodes called `names` in `graph` are called in `model`.

    Found by the tensors that they make, whose names OpenVINO keeps: it renames nodes that end a graph, and takes a Gemm
    apart. Raises PackError for one that is not there.
    """
    from packc.passes.model_file import load_model

    results = {node.name: node.outputs[0].name for node in load_model(graph).graph}
    makers = {name: op for op in model.get_ops() for output in op.outputs() for name in output.get_names()}
    found = []
    for name in names:
        op = makers.get(results.get(name))
        if op is not None and op.get_type_name() == "Add":
            op = op.input_value(0).get_node()
        if op is None or op.get_type_name() != "MatMul":
            raise PackError(f"exclude: the graph has no linear layer {name}")
        found.append(op.get_friendly_name())
    return found


def find_ffn_down(model: Any, geometry: Geometry | None) -> list[str]:
    """Names of the products with constant weights that lead from the feed-forward width back to the hidden one.

    Raises PackError when there is none: the candidate would not be what its name says.
    """
    if geometry is None:
        raise PackError("exclude=ffn_down: the model's layer widths are not known")
    widths = sorted((geometry.ffn, geometry.hidden))
    found = [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "MatMul"
        and node.input_value(1).get_node().get_type_name() == "Constant"
        and sorted(node.input_value(1).get_shape()) == widths
        and _last_size(node) == geometry.hidden
    ]
    if not found:
        raise PackError(f"exclude=ffn_down: the graph has no {geometry.ffn} x {geometry.hidden} projection")
    return found


def _last_size(node: Any) -> int | None:
    last = node.output(0).get_partial_shape()[-1]
    return int(last.get_length()) if last.is_static else None
