"""ONNX -> TensorRT engine, on the device itself; runs in packc.runtimes.compile_worker.

The adapter builds it, as a program of the Python that has TensorRT, as it does on devices that pack is not on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from packc.cache import Cache, cache_key
from packc.child import describe_crash, die_with_parent, foreign_environment
from packc.errors import PackError
from packc.gpu import find_gpu
from packc.runtimes.tensorrt_python import ENGINE, TensorRtPython, find_tensorrt

if TYPE_CHECKING:
    from packc.runtimes.compile import CompileRequest

PLAN, FACTS, LAYERS = "model.plan", "model.json", "model.layers.json"
TIMING_KIND = "tactics"
TIMING_FILE = "timing.cache"
SMALL = ("fp16", "bf16", "int8")
"""Precisions in which layers left in fp32 are worth a remark."""


def compile_model(request: CompileRequest) -> tuple[str, ...]:
    """Writes model.plan, model.json (what it was built by and for) and model.layers.json (TensorRT's own account).

    The step's options are the adapter's `build` options. Timings of kernels are kept in the cache, for one TensorRT,
    GPU and driver. Raises PackError with TensorRT's first error.
    """
    there = find_tensorrt()
    if there.found is None:
        raise PackError(there.problem)
    plan = request.out / PLAN
    with TemporaryDirectory(prefix="pack-tensorrt-") as scratch:
        file = Path(scratch, "options.json")
        timings = _find_timings(Cache(request.cache), there.found)
        file.write_text(json.dumps({**request.step.options, "timing_cache": str(timings)}), "utf-8")
        _run_builder(there.found, [request.model, plan, file])
    facts = json.loads(plan.with_name(FACTS).read_text("utf-8"))
    layers = json.loads(plan.with_name(LAYERS).read_text("utf-8"))
    return (describe_engine(facts), *describe_layers(layers, str(request.step.options["precision"])))


def describe_engine(facts: Mapping[str, Any]) -> str:
    """What the engine is bound to, of the adapter's facts."""
    return (
        f"tensorrt: an engine of TensorRT {facts['tensorrt']} for {facts['device']} (compute capability "
        f"{facts['compute_capability']}, driver {facts['driver'] or 'unknown'}), built in {facts['build_s']:.0f} s"
    )


def describe_layers(inspected: Mapping[str, Any], precision: str) -> tuple[str, ...]:
    """What TensorRT's inspector shows: how many layers, how many of them are fused attention or regions that Myelin
    compiled as a whole (whose inside it does not show), and how many give fp32 where a smaller precision was asked for.
    Layers without details count as layers alone."""
    if "Unread" in inspected:
        problem = inspected["Problem"]
        return (f"tensorrt: its inspector's report is no JSON ({problem}), so nothing is known of the layers",)
    layers = [layer for layer in inspected.get("Layers", []) if isinstance(layer, Mapping)]
    count = len(inspected.get("Layers", []))
    attentions = sum("mha" in f"{layer.get('Name', '')} {layer.get('TacticName', '')}".lower() for layer in layers)
    regions = sum(layer.get("LayerType") == "Myelin" for layer in layers)
    fused = f", {attentions} of them fused attention" if attentions else ""
    fused += f", {regions} of them compiled as a whole" if regions else ""
    remarks = [f"tensorrt: {count} layer{'' if count == 1 else 's'}{fused}"]
    wide = sum(any(_is_fp32(output) for output in layer.get("Outputs", ())) for layer in layers)
    if wide and precision in SMALL:
        remarks.append(f"tensorrt: {wide} of {count} layers give fp32, though {precision} was asked for")
    return tuple(remarks)


def _is_fp32(tensor: Mapping[str, Any]) -> bool:
    said = f"{tensor.get('Format/Datatype', '')} {tensor.get('Datatype', '')}".lower()
    return "fp32" in said or "float" in said.split()


def _find_timings(cache: Cache, there: TensorRtPython) -> Path:
    """The file of kernels' timings that belongs to this TensorRT on this GPU.

    The entry begins empty, and each builder exchanges the file for one with its own timings added. Losing it costs the
    next build time and nothing else, so nobody locks it, and the cache may drop it while an engine is built.
    """
    gpu = find_gpu()
    key = cache_key(tensorrt=there.version, gpu=gpu and gpu.name, driver=gpu and gpu.driver)
    return cache.get_or_make(TIMING_KIND, key, lambda folder: None) / TIMING_FILE


def _run_builder(there: TensorRtPython, arguments: list[Path]) -> None:
    """Runs the adapter as a program. Raises PackError with the failure that it tells, or with what ended it."""
    ended = subprocess.run(
        [there.python or sys.executable, ENGINE, *arguments],
        env=foreign_environment(os.environ) if there.python else None,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    said = ended.stderr.decode("utf-8", "replace")
    sys.stderr.write(said)
    if ended.returncode == 1 and said.strip():
        raise PackError(said.strip().splitlines()[-1].removeprefix("RuntimeError: "))
    if ended.returncode:
        raise PackError(describe_crash(ended.returncode, said, "TensorRT's builder"))
