"""Rules about the names of onnxruntime's options: parameters and accelerators are maps that take any key."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from packc.errors import Diagnostic
from packc.package.lint.repository import LintedModel, Repository

# fmt: off
CUDA_OPTIONS = frozenset({
    "arena_extend_strategy", "cudnn_conv1d_pad_to_nc1d", "cudnn_conv_algo_search", "cudnn_conv_use_max_workspace",
    "device_id", "do_copy_in_default_stream", "enable_cuda_graph", "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias", "gpu_external_alloc", "gpu_external_empty_cache", "gpu_external_free", "gpu_mem_limit",
    "has_user_compute_stream", "prefer_nhwc", "sdpa_kernel", "tunable_op_enable",
    "tunable_op_max_tuning_duration_ms", "tunable_op_tuning_enable", "use_ep_level_unified_stream", "use_tf32",
    "user_compute_stream",
})
"""Of ONNX Runtime's CUDA provider, as its documentation lists them."""
TENSORRT_OPTIONS = frozenset({
    "int8_calibration_table_name", "int8_use_native_calibration_table", "max_workspace_size_bytes",
    "precision_mode", "trt_auxiliary_streams", "trt_build_heuristics_enable", "trt_builder_optimization_level",
    "trt_context_memory_sharing_enable", "trt_cuda_graph_enable", "trt_detailed_build_log", "trt_dla_core",
    "trt_dla_enable", "trt_dump_ep_context_model", "trt_dump_subgraphs", "trt_engine_cache_enable",
    "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_ep_context_embed_mode", "trt_ep_context_file_path",
    "trt_extra_plugin_lib_paths", "trt_force_sequential_engine_build", "trt_force_timing_cache",
    "trt_layer_norm_fp32_fallback", "trt_max_partition_iterations", "trt_min_subgraph_size",
    "trt_profile_max_shapes", "trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_sparsity_enable",
    "trt_tactic_sources", "trt_timing_cache_enable", "trt_timing_cache_path",
})
"""What Triton's backend reads; it refuses other names, also those that ONNX Runtime itself has for what is here."""
BACKENDS_OWN = {
    "trt_fp16_enable": "precision_mode", "trt_int8_enable": "precision_mode", "trt_bf16_enable": "precision_mode",
    "trt_max_workspace_size": "max_workspace_size_bytes",
    "trt_int8_calibration_table_name": "int8_calibration_table_name",
    "trt_int8_use_native_calibration_table": "int8_use_native_calibration_table",
}
"""ONNX Runtime's name -> the one that the backend reads."""
PARAMETERS = frozenset({
    "arena_extend_strategy", "cudnn_conv_algo_search", "do_copy_in_default_stream", "enable_mem_arena",
    "enable_mem_pattern", "execution_mode", "gpu_mem_limit", "inter_op_thread_count", "intra_op_thread_count",
    "memory.enable_memory_arena_shrinkage", "share_session_between_instances",
})
"""What the backend reads of a model's own parameters; others are the user's."""
# fmt: on
OPTIONS = {"cuda": CUDA_OPTIONS, "tensorrt": TENSORRT_OPTIONS}
_NEAR = 0.8
"""How like a known name one is that is taken for a slip: parameters of the user's are not."""


def check_accelerator_options(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Options of the GPU accelerators are known, as far as ONNX Runtime's documentation lists them."""
    if model.backend != "onnxruntime":
        return
    accelerators = model.config.optimization.execution_accelerators.gpu_execution_accelerator
    for i, accelerator in enumerate(accelerators):
        known = OPTIONS.get(accelerator.name, frozenset(accelerator.parameters))
        path = ("optimization", 0, "execution_accelerators", 0, "gpu_execution_accelerator", i, "parameters")
        for key in sorted(set(accelerator.parameters) - known):
            message = f'"{key}" is no option of the accelerator {accelerator.name} that is known'
            yield model.warning((*model.entry(path, key), "key"), message, _suggest_option(key, known))


def _suggest_option(key: str, known: Collection[str]) -> str:
    if key in BACKENDS_OWN:
        return f'the accelerator tensorrt has "{BACKENDS_OWN[key]}" for it'
    home = next((name for name, options in OPTIONS.items() if key in options), None)
    if home:
        return f"it is one of the accelerator {home}"
    near = difflib.get_close_matches(key, sorted(known), n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return "servers refuse it or leave it out, unless their ONNX Runtime is newer than this list"


def check_parameter_names(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Parameters that look like an option are one that the backend reads there; any other is the user's own."""
    if model.backend != "onnxruntime":
        return
    options = {option: name for name, known in OPTIONS.items() for option in known}
    for key in sorted(set(model.config.parameters) - PARAMETERS):
        near = difflib.get_close_matches(key, sorted({*PARAMETERS, *options}), n=1, cutoff=_NEAR)
        if not near or key.startswith("session."):
            continue
        meant = f'did you mean "{near[0]}"?'
        if near[0] not in PARAMETERS:
            meant = f'the accelerator {options[near[0]]} has "{near[0]}": write it among the parameters of that'
        message = f'the onnxruntime backend reads no parameter "{key}"'
        yield model.warning((*model.entry(("parameters",), key), "key"), message, meant)
