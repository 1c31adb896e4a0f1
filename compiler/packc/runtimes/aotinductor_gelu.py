"""GELU after a linear layer -> the epilogue of its product, in an exported program, before AOTInductor compiles it.

cuBLASLt adds a bias and computes GELU while a product's sums are still in registers; as a kernel of its own, GELU reads
and writes them all. It has the form with a hyperbolic tangent, 1/2 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which
differs from the exact one by up to 5e-4: less than fp16's own errors add up to, and too much for fp32.
"""

from __future__ import annotations

from typing import Any


def merge_gelu(program: Any) -> tuple[int, int]:
    """Rewrites the torch.export.ExportedProgram in place; how many GELUs were merged, of how many.

    Merged is `gelu(linear(x, w, b))` where nothing else reads the linear layer, in either form of GELU.
    """
    import torch

    aten = torch.ops.aten
    graph, merged = program.graph_module.graph, 0
    found = graph.find_nodes(op="call_function", target=aten.gelu.default)
    for gelu in found:
        linear = gelu.args[0]
        if linear.target is not aten.linear.default or len(linear.users) != 1:
            continue
        if len(linear.args) < 3 or linear.args[2] is None:
            continue
        with graph.inserting_before(gelu):
            merged_gelu = _add_product(graph, *linear.args)
        merged_gelu.meta["val"] = gelu.meta["val"]
        gelu.replace_all_uses_with(merged_gelu)
        graph.erase_node(gelu)
        graph.erase_node(linear)
        merged += 1
    program.graph_module.recompile()
    return merged, len(found)


def _add_product(graph: Any, x: Any, weight: Any, bias: Any) -> Any:
    """The product with both in its epilogue, which takes matrices alone: other axes than the last become one, and are
    told apart again by their sizes, which may be open."""
    import torch

    aten = torch.ops.aten
    rank, (outputs, inputs) = x.meta["val"].dim(), weight.meta["val"].shape
    rows = x if rank == 2 else graph.call_function(aten.reshape.default, (x, [-1, inputs]))
    turned = graph.call_function(aten.t.default, (weight,))
    product = graph.call_function(aten._addmm_activation.default, (bias, rows, turned), {"use_gelu": True})
    if rank == 2:
        return product
    sizes = [graph.call_function(aten.sym_size.int, (x, axis)) for axis in range(rank - 1)]
    return graph.call_function(aten.reshape.default, (product, [*sizes, outputs]))
