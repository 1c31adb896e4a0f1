"""Graph passes: one rewrite a file, in the order in which recipes may have them."""

from __future__ import annotations

from packc.errors import PackError
from packc.passes.cast_bf16 import CastBf16
from packc.passes.cast_fp16 import CastFp16
from packc.passes.clean_graph import CleanGraph
from packc.passes.fuse_attention import FuseAttention
from packc.passes.fuse_gelu import FuseGelu
from packc.passes.fuse_layer_norm import FuseLayerNorm
from packc.passes.graph_pass import GraphPass
from packc.passes.lower_opset import LowerOpset
from packc.passes.merge_attention import MergeAttention
from packc.passes.merge_bias_gelu import MergeBiasGelu
from packc.passes.merge_embeddings import MergeEmbeddings
from packc.passes.merge_skip_norm import MergeSkipNorm
from packc.passes.plain_mask import PlainMask
from packc.passes.prune_structure import PruneStructure
from packc.passes.quantize_dynamic import QuantizeDynamic
from packc.passes.quantize_static import QuantizeStatic
from packc.passes.quantize_weights import QuantizeWeights
from packc.passes.remove_padding import RemovePadding
from packc.passes.shield_layer_norm import ShieldLayerNorm
from packc.passes.smooth_outliers import SmoothOutliers
from packc.passes.sum_in_fp32 import SumInFp32

PASSES: tuple[GraphPass, ...] = (
    # The same computation in fewer and faster operators.
    CleanGraph(),
    FuseLayerNorm(),
    FuseGelu(),
    FuseAttention(),
    ShieldLayerNorm(),
    RemovePadding(),
    PruneStructure(),  # computes less and is not exact, but ranges are evened after it
    SmoothOutliers(),
    # Operators of ONNX Runtime's own, for its CUDA provider.
    MergeEmbeddings(),
    MergeAttention(),
    MergeSkipNorm(),
    MergeBiasGelu(),
    # For parsers and compilers of other runtimes.
    PlainMask(),
    LowerOpset(),
    # Another precision.
    CastFp16(),
    CastBf16(),
    QuantizeDynamic(),
    QuantizeStatic(),
    QuantizeWeights(),
    SumInFp32(),  # for older parsers, and left alone by what changes precisions
)


def find_pass(name: str) -> GraphPass:
    """The pass called `name`. Raises PackError when there is none."""
    for graph_pass in PASSES:
        if graph_pass.name == name:
            return graph_pass
    raise PackError(f"there is no graph pass {name!r}; there are {', '.join(p.name for p in PASSES)}")
