"""Rules about where a model runs: instance groups, threads and optimisation settings."""

from __future__ import annotations

from collections.abc import Iterator

from packc.errors import Diagnostic
from packc.package.lint.repository import LintedModel, Repository
from packc.package.schema import config_schema

_GPU_ACCELERATORS = ("tensorrt", "cuda")
_CPU_ACCELERATORS = ("openvino",)
_GRAPH_LEVELS = (-1, 0, 1, 2)
_NUMBERS = ("intra_op_thread_count", "inter_op_thread_count", "execution_mode", "enable_mem_arena", "gpu_mem_limit")
_OPENVINO_NUMBERS = ("INFERENCE_NUM_THREADS", "COMPILATION_NUM_THREADS")
_OPENVINO_CHOICES = {
    "PERFORMANCE_HINT": ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
    "HINT_BF16": ("YES",),
}
"""Values that the openvino backend takes, in capitals or not (its src/openvino.cc)."""
_DEFAULT_CPU_COUNT = 2
"""Instances that the onnxruntime backend makes of a CPU group without a count."""


def check_kinds(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """GPUs are listed for KIND_GPU alone, counts are not negative, profiles are TensorRT's."""
    for i, group in enumerate(model.config.instance_group):
        path = ("instance_group", i)
        kind = config_schema().ModelInstanceGroup.Kind.Name(group.kind)
        if group.gpus and kind in ("KIND_CPU", "KIND_MODEL"):
            yield model.error((*path, "gpus"), f"{kind} takes no gpus", "leave them out, or use KIND_GPU")
        if group.count < 0:
            yield model.error((*path, "count"), f"{group.count} instances are not possible")
        for j, profile in enumerate(group.profile):
            if model.backend != "tensorrt":
                yield model.error((*path, "profile", j), "profiles are for TensorRT alone")
            elif not profile.isdigit():
                yield model.error((*path, "profile", j), f'"{profile}" is not the number of a profile')
        if model.backend == "vllm" and kind != "KIND_MODEL":
            yield model.warning((*path, "kind"), f"vLLM places itself: use KIND_MODEL, not {kind}")


def check_threads(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Several CPU instances of onnxruntime share the cores: each one takes them all unless told otherwise."""
    if model.backend != "onnxruntime" or model.parameter("intra_op_thread_count") not in ("", "0"):
        return
    cpu = config_schema().ModelInstanceGroup.KIND_CPU
    for i, group in enumerate(model.config.instance_group):
        count = group.count or _DEFAULT_CPU_COUNT
        if group.kind == cpu and count > 1:
            yield model.warning(
                ("instance_group", i, "count"),
                f"{count} instances compute on all cores each",
                "set the parameter intra_op_thread_count to cores / instances",
            )


def check_parameters(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Parameters have values, and those of onnxruntime and openvino have values of their kinds."""
    for key in sorted(model.config.parameters):
        value = model.parameter(key)
        where = (*model.entry(("parameters",), key), "value")
        if not value:
            yield model.warning(where, f'the parameter "{key}" is empty', 'write value: { string_value: "..." }')
        elif model.backend == "onnxruntime" and key in _NUMBERS and not value.isdigit():
            yield model.error((*where, 0, "string_value"), f'{key} is a number, not "{value}"')
        elif model.backend == "openvino" and (problem := _find_openvino_problem(key, value)):
            yield model.error((*where, 0, "string_value"), f'{key} is {problem}, not "{value}"')


def _find_openvino_problem(key: str, value: str) -> str | None:
    if key in _OPENVINO_NUMBERS and not value.isdigit():
        return "a number"
    if key == "NUM_STREAMS" and not (value.isdigit() or value.upper() in ("AUTO", "NUMA")):
        return "a number, AUTO or NUMA"
    choices = _OPENVINO_CHOICES.get(key)
    return " or ".join(choices) if choices and value.upper() not in choices else None


def check_padding(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A batching model of the openvino backend may fill its batches up."""
    if model.backend == "openvino" and model.is_batched and model.parameter("ENABLE_BATCH_PADDING").upper() != "YES":
        yield model.warning(
            ("max_batch_size",),
            "the native openvino backend refuses every batch but the largest",
            "set the parameter ENABLE_BATCH_PADDING to YES",
        )


def check_accelerators(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Accelerators of onnxruntime exist, and TensorRT's engines are kept between loads."""
    if model.backend != "onnxruntime":
        return
    accelerators = model.config.optimization.execution_accelerators
    for field, known in (
        ("gpu_execution_accelerator", _GPU_ACCELERATORS),
        ("cpu_execution_accelerator", _CPU_ACCELERATORS),
    ):
        for i, accelerator in enumerate(getattr(accelerators, field)):
            path = ("optimization", 0, "execution_accelerators", 0, field, i)
            if accelerator.name not in known:
                yield model.error(
                    (*path, "name"),
                    f'onnxruntime has no {field.split("_")[0].upper()} accelerator "{accelerator.name}"',
                    f"there is {' and '.join(known)}",
                )
            elif accelerator.name == "tensorrt" and accelerator.parameters.get("trt_engine_cache_enable") not in (
                "1",
                "true",
            ):
                yield model.warning(
                    path,
                    "TensorRT builds its engine anew at every load",
                    "set trt_engine_cache_enable and trt_engine_cache_path",
                )


def check_graph_settings(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Graph settings are read by the backend that they are given to."""
    optimization = model.config.optimization
    if optimization.cuda.graphs and model.backend != "tensorrt":
        yield model.warning(
            ("optimization", 0, "cuda", 0, "graphs"),
            f"the {model.backend} backend does not read optimization.cuda.graphs",
        )
    if model.backend == "onnxruntime" and optimization.graph.level not in _GRAPH_LEVELS:
        yield model.warning(
            ("optimization", 0, "graph", 0, "level"),
            f"the onnxruntime backend knows no graph level {optimization.graph.level}",
            "-1 is basic, 1 extended, 2 off; leave it out for everything",
        )
