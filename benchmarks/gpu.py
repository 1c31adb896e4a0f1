"""pack's CUDA candidates beside PyTorch and plain ONNX Runtime on one NVIDIA GPU, all timed in turns in one process.

    python benchmarks/gpu.py [MODEL ...] [--rounds N] [--out DIR] [--skip-compile]

MODEL: bert-base, vit-base, resnet-50, with random weights. Two times a row: a call from host arrays to host arrays,
which is what a server pays, and the work on the device alone, inputs and outputs in its memory. Each is the median of
the medians of all rounds; ratios are against ONNX Runtime's CUDA provider with the graph as exported. Errors are
relative norms against PyTorch in fp32 on the same GPU.

Needs torch, transformers, onnx, onnxscript, pydantic and onnxruntime-gpu, no network, and packc on the path.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from support.gpu_models import GPU_MODELS, Arrays, Encoder, GpuModel

from packc.candidate import PassStep
from packc.child import run_child
from packc.ingest.export import export_module
from packc.passes.model_file import MODEL_FILE
from packc.passes.request import Request, read_reports, write_request
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.target_profiles import find_target
from packc.tensors import Precision

RESULTS = Path(__file__).resolve().parent / "results"
BASELINE = "ONNX Runtime CUDA, as exported, its own options"
"""Plain `InferenceSession(...).run(...)`: products in tf32, which is its default, and no option of pack's."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")
LEAST_CALLS, LEAST_S = 20, 0.15
WARMUP = 10
LOWERING_LIMIT_S = 300.0
PLAIN_FP16 = (PassStep("cast_fp16"),)
"""The exported graph in fp16 and nothing else: what ONNX Runtime makes of it by itself."""


@dataclass(slots=True)
class Row:
    """One way to run the model at one shape. `call` takes and gives host arrays; `work` stays on the device."""

    name: str
    call: Callable[[], Any]
    work: Callable[[], None]
    error: float
    call_ms: list[float] = field(default_factory=list)
    work_ms: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *GPU_MODELS], metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--skip-compile", action="store_true", help="leave torch.compile out")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: there is no NVIDIA GPU that PyTorch can use")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name in arguments.models or GPU_MODELS:
        started = time.perf_counter()
        body, versions = compare(GPU_MODELS[name], arguments.rounds, arguments.skip_compile)
        took = time.perf_counter() - started
        device = versions.pop("device")
        head = f"# {name} on one {device}, random weights\n\n{datetime.date.today().isoformat()}; {show(versions)}."
        text = f"{head}\n\n`python benchmarks/gpu.py {name}` ({took:.0f} s):\n\n{body}\n"
        print(text, flush=True)
        arguments.out.mkdir(parents=True, exist_ok=True)
        card = re.sub(r"[^a-z0-9]+", "-", device.lower().removeprefix("nvidia ")).strip("-")
        (arguments.out / f"gpu-{name}.{card}.md").write_text(text, "utf-8")


def show(versions: dict[str, str]) -> str:
    known = {"Python": sys.version.split()[0], "torch": torch.__version__, **versions}
    return ", ".join(f"{name} {version}" for name, version in known.items())


def compare(model: GpuModel, rounds: int, skip_compile: bool) -> tuple[str, dict[str, str]]:
    """The table of one model as Markdown, and what it was measured with."""
    with tempfile.TemporaryDirectory(prefix="pack-gpu-") as folder:
        encoder = model.build("eager")
        graphs = lower_candidates(model, encoder, Path(folder))
        engine = load_engine()
        sessions = {}
        for name, (graph, options) in graphs.items():
            try:
                sessions[name] = engine.load(str(graph), options, 1)
            except Exception as error:
                log(f"left out: {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
        versions = dict(engine.describe(next(iter(sessions.values()))))
        plain = open_plain(Path(folder) / "exported.onnx")
        reference = encoder.cuda()
        tables = []
        for shape in model.shapes:
            inputs = model.draw(*shape)
            expected = call_torch(reference, inputs, torch.float32)
            rows = [time_plain(plain, inputs, expected), *list_engines(engine, sessions, inputs, expected)]
            rows += list_torch(model, encoder, inputs, expected, skip_compile)
            time_rows(rows, rounds)
            tables.append((describe_shape(*shape), rows))
        return "\n\n".join(show_table(shape, rows) for shape, rows in tables), versions


def lower_candidates(model: GpuModel, encoder: Encoder, folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The graph and the session options of every candidate, and of the exported graph in plain fp16."""
    started = time.perf_counter()
    export_module(model.refer(encoder), folder / "exported.onnx")
    encoder.eval()  # an export may leave a module in training mode
    log(f"{model.name}: exported in {time.perf_counter() - started:.0f} s")
    offered, _ = OnnxRuntimeCuda().candidates(model.describe(), find_target("nvidia-h200-sxm", folder), PRECISIONS)
    ways = {candidate.id: (candidate.passes, dict(candidate.session)) for candidate in offered}
    ways["ONNX Runtime CUDA, fp16, as exported"] = (PLAIN_FP16, {})
    started = time.perf_counter()
    with ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 1) // 2))) as pool:
        made = pool.map(lambda way: lower(folder, folder / f"way{way[0]}", way[1], model), enumerate(ways.values()))
        graphs = {name: (graph, ways[name][1]) for name, graph in zip(ways, made, strict=True) if graph is not None}
    log(f"{model.name}: lowered in {time.perf_counter() - started:.0f} s")
    return graphs


def lower(folder: Path, out: Path, way: tuple[tuple[PassStep, ...], dict[str, Any]], model: GpuModel) -> Path | None:
    """The exported graph in `folder` after the passes of `way`, in a child process; None, with a word, on failure."""
    exported, (steps, _) = folder / "exported.onnx", way
    if not steps:
        return exported
    out.mkdir()
    file = out / "request.json"
    write_request(file, Request(exported, steps, model.geometry, folder, out, (len(steps),)))
    if failure := run_child("packc.passes.worker", file, "lowering the graph", LOWERING_LIMIT_S):
        log(f"left out: {', '.join(map(str, steps))}: {failure}")
        return None
    for report in read_reports(out / str(len(steps))):
        for warning in report.warnings:
            log(f"{out.name}: {warning}")
    return out / str(len(steps)) / MODEL_FILE


def load_engine() -> ModuleType:
    """The runtime's adapter, as a job bundle imports it."""
    spec = importlib.util.spec_from_file_location("engine", OnnxRuntimeCuda().engine)
    assert spec is not None
    assert spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    sys.modules["engine"] = engine
    spec.loader.exec_module(engine)
    return engine


def open_plain(graph: Path) -> Any:
    """The session that everybody would write; load_engine() has loaded CUDA's libraries before."""
    import onnxruntime

    return onnxruntime.InferenceSession(graph, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


def time_plain(session: Any, inputs: Arrays, expected: np.ndarray) -> Row:
    """Its `work` has inputs on the device, and outputs that the provider allocates there."""
    import onnxruntime

    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cuda", 0)
    for _ in range(WARMUP):
        answers = dict(zip(names, session.run(names, inputs), strict=True))
        session.run_with_iobinding(binding)
    return Row(
        BASELINE,
        lambda: session.run(names, inputs),
        lambda: session.run_with_iobinding(binding),
        measure_error(answers["answer"], expected),
    )


def list_engines(engine: ModuleType, sessions: dict[str, Any], inputs: Arrays, expected: np.ndarray) -> list[Row]:
    rows = []
    for name, session in sessions.items():
        try:
            for _ in range(WARMUP):
                answer = engine.run(session, inputs)["answer"]
        except Exception as error:
            log(f"left out: {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        bound = next(b for b in session.bound.values() if fits(b, inputs))
        rows.append(
            Row(
                name,
                lambda session=session: engine.run(session, inputs),
                lambda session=session, bound=bound: session.model.run_with_iobinding(bound.binding, bound.options),
                measure_error(answer, expected),
            )
        )
    return rows


def fits(bound: Any, inputs: Arrays) -> bool:
    return all(tuple(bound.inputs[name].shape()) == array.shape for name, array in inputs.items())


def list_torch(
    model: GpuModel, encoder: Encoder, inputs: Arrays, expected: np.ndarray, skip_compile: bool
) -> list[Row]:
    rows = []
    eager = model.build("sdpa", encoder.state_dict()).half().cuda()
    ways: list[tuple[str, Any]] = [("torch eager, fp16", eager)]
    if not skip_compile:
        torch.compiler.reset()
        compiled = torch.compile(eager, mode="reduce-overhead", dynamic=False)
        ways.append(("torch.compile reduce-overhead, fp16", compiled))
    on_device = to_device(inputs, torch.float16)
    for name, module in ways:
        started = time.perf_counter()

        def work(module: Any = module) -> None:
            with torch.inference_mode():
                module(*on_device)
            torch.cuda.synchronize()

        try:
            for _ in range(WARMUP):
                answer = call_torch(module, inputs, torch.float16)
                work()
        except Exception as error:
            log(f"left out: {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        log(f"{name}: warm after {time.perf_counter() - started:.0f} s")
        call = lambda module=module: call_torch(module, inputs, torch.float16)  # noqa: E731
        rows.append(Row(name, call, work, measure_error(answer, expected)))
    return rows


def call_torch(module: Any, inputs: Arrays, dtype: torch.dtype) -> np.ndarray:
    """Host arrays in, a host array out."""
    with torch.inference_mode():
        return module(*to_device(inputs, dtype))[0].float().cpu().numpy()


def to_device(inputs: Arrays, dtype: torch.dtype) -> list[torch.Tensor]:
    tensors = [torch.from_numpy(array).cuda() for array in inputs.values()]
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def measure_error(answer: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(answer.astype(np.float64) - expected) / np.linalg.norm(expected))


def time_rows(rows: Sequence[Row], rounds: int) -> None:
    """Every row once a round, so that whatever changes with time changes for all."""
    for _ in range(rounds):
        for row in rows:
            row.call_ms.append(time_calls(row.call))
            row.work_ms.append(time_calls(row.work))


def time_calls(call: Callable[[], Any]) -> float:
    """The median in milliseconds."""
    for _ in range(3):
        call()
    times, started = [], time.perf_counter()
    while len(times) < LEAST_CALLS or time.perf_counter() - started < LEAST_S:
        before = time.perf_counter()
        call()
        times.append((time.perf_counter() - before) * 1e3)
    return statistics.median(times)


def show_table(shape: str, rows: Sequence[Row]) -> str:
    base = next((row for row in rows if row.name == BASELINE), rows[0])
    base_call, base_work = statistics.median(base.call_ms), statistics.median(base.work_ms)
    lines = [f"| {shape} | call, ms (x) | device, ms (x) | spread of rounds | error |", "|---" * 5 + "|"]
    for row in sorted(rows, key=lambda row: statistics.median(row.work_ms)):
        call, work = statistics.median(row.call_ms), statistics.median(row.work_ms)
        spread = (max(row.work_ms) - min(row.work_ms)) / work
        lines.append(
            f"| {row.name} | {call:.3f} ({base_call / call:.2f}) | {work:.3f} ({base_work / work:.2f}) "
            f"| {spread:.0%} | {row.error:.1e} |"
        )
    return "\n".join(lines)


def describe_shape(batch: int, tokens: int | None) -> str:
    return f"{batch} x {tokens} tokens" if tokens else f"batch {batch}"


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
