"""ReLU after a convolution, or after the sum of one and something else -> cuDNN's epilogue of the convolution, in an
exported program, before AOTInductor compiles it.

Inductor leaves convolutions to cuDNN and makes bias, normalisation, sum and ReLU a kernel of its own, which reads and
writes every activation once more. cuDNN has convolutions that do all that to their sums before these are written.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cache
from typing import Any

ALIGNMENT = 8
"""Channels that a convolution in 16 bits has to have a multiple of for tensor cores; others are left to Inductor."""
DEFAULTS: tuple[Any, ...] = (None, [1, 1], [0, 0], [1, 1], 1)
"""What conv2d takes for bias, stride, padding, dilation and groups where it is not told."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A conv2d whose answer is read once, and the normalisation that reads it, if one does."""

    conv: Any
    norm: Any | None
    end: Any
    """The node with the answer of both."""


def merge_relu(program: Any) -> tuple[Any, int, int]:
    """The torch.export.ExportedProgram rewritten, without operators that write into their inputs; and how many ReLUs
    were merged, of how many.

    Merged are `relu(c)`, `relu(c + z)` and `relu(z + c)` where c is a convolution for tensor cores, normalised or not,
    that nothing else reads, and z as large as c.
    """
    import torch

    teach_shapes()
    aten = torch.ops.aten
    program = program.run_decompositions({})
    graph, merged = program.graph_module.graph, 0
    found = graph.find_nodes(op="call_function", target=aten.relu.default)
    for relu in found:
        match = _match(relu.args[0])
        if match is None:
            continue
        convolution, other = match
        with graph.inserting_before(relu):
            fused = _add_convolution(graph, convolution, other)
        fused.meta["val"] = relu.meta["val"]
        relu.replace_all_uses_with(fused)
        merged += 1
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program, merged, len(found)


@cache
def teach_shapes() -> None:
    """Tells this process's PyTorch what the shapes of cuDNN's answers are, which only its CUDA kernels know, and that
    their inputs keep the layout that they were traced with."""
    import torch
    from torch._inductor.lowering import add_layout_constraint, constrain_to_fx_strides

    def shape(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
        return torch.ops.aten.conv2d.default(x, weight, bias, stride, padding, dilation, groups)

    def shape_of_sum(
        x: Any, weight: Any, z: Any, alpha: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
    ) -> Any:
        return shape(x, weight, bias, stride, padding, dilation, groups)

    torch.library.register_fake("aten::cudnn_convolution_relu", shape)
    torch.library.register_fake("aten::cudnn_convolution_add_relu", shape_of_sum)
    for name in ("cudnn_convolution_relu", "cudnn_convolution_add_relu"):
        add_layout_constraint(getattr(torch.ops.aten, name).default, constrain_to_fx_strides)


def _match(node: Any) -> tuple[Convolution, Any | None] | None:
    """The convolution that a ReLU ends, and what is added to it; None where it ends something else."""
    import torch

    if convolution := _find_convolution(node):
        return convolution, None
    if node.target is not torch.ops.aten.add.Tensor or len(node.users) != 1 or node.kwargs:
        return None
    for own, other in (node.args, node.args[::-1]):
        convolution = _find_convolution(own)
        if convolution and hasattr(other, "meta") and _is_alike(own, other):
            return convolution, other
    return None


def _find_convolution(node: Any) -> Convolution | None:
    import torch

    aten, conv, norm = torch.ops.aten, node, None
    if not hasattr(node, "target"):
        return None
    if node.target is operator.getitem and node.args[1] == 0 and len(node.users) == 1:
        norm = node.args[0]
        if norm.target is not aten._native_batch_norm_legit_no_training.default or len(norm.users) != 1:
            return None
        if any(given is None for given in norm.args[1:3]):
            return None
        conv = norm.args[0]
    if conv.target is not aten.conv2d.default or len(conv.users) != 1:
        return None
    outputs, inputs, *_ = conv.args[1].meta["val"].shape
    is_grouped = len(conv.args) > 6 and conv.args[6] != 1
    return None if is_grouped or outputs % ALIGNMENT or inputs % ALIGNMENT else Convolution(conv, norm, node)


def _is_alike(one: Any, other: Any) -> bool:
    first, second = one.meta["val"], other.meta["val"]
    return bool(first.shape == second.shape and first.dtype == second.dtype)


def _add_convolution(graph: Any, found: Convolution, other: Any | None) -> Any:
    """cuDNN's operator, with the normalisation in its weights: constants that Inductor computes while it compiles."""
    import torch

    aten = torch.ops.aten
    x, weight, *rest = tuple(found.conv.args)
    bias, stride, padding, dilation, groups = (*rest, *DEFAULTS[len(rest) :])
    if found.norm is not None:
        weight, bias = _fold(graph, found.norm, weight, bias)
    shape = [_spread(stride), _spread(padding), _spread(dilation), groups]
    if other is None:
        return graph.call_function(aten.cudnn_convolution_relu.default, (x, weight, bias, *shape))
    return graph.call_function(aten.cudnn_convolution_add_relu.default, (x, weight, other, 1.0, bias, *shape))


def _spread(sizes: Any) -> list[int]:
    """One for each axis: conv2d takes one for both."""
    return list(sizes) if len(sizes) == 2 else [sizes[0], sizes[0]]


def _fold(graph: Any, norm: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """Weight and bias with which the convolution gives what it gives with `norm` after it, computed in fp32."""
    import torch

    aten = torch.ops.aten
    dtype = weight.meta["val"].dtype

    def call(target: Any, *arguments: Any, **options: Any) -> Any:
        return graph.call_function(target, arguments, options)

    def widen(node: Any) -> Any:
        return call(aten._to_copy.default, node, dtype=torch.float32)

    def narrow(node: Any) -> Any:
        return call(aten._to_copy.default, node, dtype=dtype)

    _, gamma, beta, mean, variance, _, epsilon = norm.args
    root = call(aten.rsqrt.default, call(aten.add.Scalar, widen(variance), epsilon))
    scale = call(aten.mul.Tensor, widen(gamma), root)
    shift = call(aten.sub.Tensor, widen(bias), widen(mean)) if bias is not None else call(aten.neg.default, widen(mean))
    offset = call(aten.add.Tensor, call(aten.mul.Tensor, shift, scale), widen(beta))
    scaled = call(aten.mul.Tensor, widen(weight), call(aten.reshape.default, scale, [-1, 1, 1, 1]))
    return narrow(scaled), narrow(offset)
