"""pack's CUDA candidates beside PyTorch and plain ONNX Runtime on one NVIDIA GPU, all timed in turns.

    python benchmarks/gpu.py [MODEL ...] [--batch N] [--rounds N] [--out DIR] [--skip-compile]
                             [--tensorrt all|peer|none]

MODEL: bert-base, vit-base, resnet-50, with random weights, at batches 1 and 32 or one of them. Two times a row, both by
the host's clock: a call from host arrays to host arrays, which is what a server pays and pack chooses by; and
"resident", the same with inputs and outputs left in the GPU's memory. Each is the median of the medians of all rounds;
ratios are against ONNX Runtime's CUDA provider with the graph as exported. Errors are relative norms against PyTorch in
fp32 on the same GPU. Below each table stand the fastest of pack's candidates, the best of the others, and the floor:
what the products or the weights of the graph take at the GPU's peak rates.

Needs torch, transformers, onnx, onnxscript, pydantic and onnxruntime-gpu, a C++ compiler and CUDA's headers, no
network, and packc on the path.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from support.gpu_aotinductor import start_aotinductor
from support.gpu_models import GPU_MODELS, GpuModel
from support.gpu_onnxruntime import BASELINE, EXPORTED, open_onnxruntime
from support.gpu_rows import Failure, Row, log, time_rows
from support.gpu_table import show_table
from support.gpu_tensorrt import start_tensorrt
from support.gpu_torch import COMPILED, call_torch, forbid_tf32, list_torch

from packc.cache import Cache
from packc.ingest.export import export_module
from packc.measure.work import count_work
from packc.roofline import read_profile
from packc.samples import save_samples
from packc.target import Target
from packc.target_profiles import find_host_gpu
from packc.tensors import Precision, ShapeCase

RESULTS = Path(__file__).resolve().parent / "results"
BATCHES = sorted({batch for model in GPU_MODELS.values() for batch, _ in model.shapes})
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *GPU_MODELS], metavar="MODEL")
    parser.add_argument("--batch", type=int, choices=BATCHES, help="that of the two alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--skip-compile", action="store_true", help="leave torch.compile out")
    rows = "rows of TensorRT, where there is one: pack's and the exported graph's, or the latter alone, or none"
    parser.add_argument("--tensorrt", choices=["all", "peer", "none"], default="all", help=rows)
    arguments = parser.parse_args()
    target = find_host_gpu()
    if target is None or not torch.cuda.is_available():
        print("left out: there is no NVIDIA GPU that PyTorch can use")
        return
    for name in arguments.models or GPU_MODELS:
        started = time.perf_counter()
        model = GPU_MODELS[name]
        if arguments.batch:
            model = replace(model, shapes=tuple(shape for shape in model.shapes if shape[0] == arguments.batch))
        body, versions = compare(model, target, arguments)
        took = time.perf_counter() - started
        device = versions.pop("device")
        head = f"# {name} on one {device}, random weights\n\n{datetime.date.today().isoformat()}; {show(versions)}."
        options = f"--batch {arguments.batch} " if arguments.batch else ""
        options += f"--rounds {arguments.rounds} --tensorrt {arguments.tensorrt}"
        options += " --skip-compile" if arguments.skip_compile else ""
        text = f"{head}\n\n`python benchmarks/gpu.py {name} {options}` ({took:.0f} s):\n\n{body}\n"
        print(text, flush=True)
        arguments.out.mkdir(parents=True, exist_ok=True)
        card = re.sub(r"[^a-z0-9]+", "-", device.lower().removeprefix("nvidia ")).strip("-")
        (arguments.out / f"gpu-{name}.{card}.md").write_text(text, "utf-8")


def show(versions: dict[str, str]) -> str:
    known = {"Python": sys.version.split()[0], "torch": torch.__version__, **versions}
    return ", ".join(f"{name} {version}" for name, version in known.items())


def compare(model: GpuModel, target: Target, arguments: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """The tables of one model as Markdown, and what it was measured with."""
    with tempfile.TemporaryDirectory(prefix="pack-gpu-") as folder:
        place = Path(folder)
        encoder = model.build("eager")
        weights = place / "model.safetensors"
        save_file(encoder.state_dict(), weights)
        ours = start_aotinductor(model, target, PRECISIONS, weights, place)  # in other processes
        started = time.perf_counter()
        export_module(model.refer(encoder), place / EXPORTED)
        encoder.eval()  # an export may leave a module in training mode
        log(f"{model.name}: exported in {time.perf_counter() - started:.0f} s")
        ours.wait()
        tensorrt = start_tensorrt(model, target, place, arguments.tensorrt)  # alone, as compilers time kernels too
        cases = [ShapeCase(describe_shape(*shape), *shape) for shape in model.shapes]
        save_samples(place / "inputs.npz", (model.draw(*shape) for shape in model.shapes))
        works = count_work(place / EXPORTED, cases, place / "inputs.npz", Cache(place / "cache"))
        onnxruntime = open_onnxruntime(model, target, PRECISIONS, place)
        versions = dict(onnxruntime.engine.describe(onnxruntime.sessions[0][1]))
        versions |= {"TensorRT": tensorrt.there.version} if tensorrt.there else {}
        reference = encoder.cuda()
        tensorrt.wait()
        tables = []
        for index, (case, work) in enumerate(zip(cases, works, strict=True)):
            inputs = model.draw(case.batch, case.sequence)
            forbid_tf32()
            expected = call_torch(reference, inputs, torch.float32)
            rows: list[Row | Failure] = [
                *onnxruntime.list_rows(inputs, expected),
                *ours.list_rows(index, inputs, expected),
                *tensorrt.list_rows(index, inputs, expected),
            ]
            rows += list_torch(model, encoder, inputs, expected, arguments.skip_compile)
            rows = time_rows(rows, arguments.rounds)
            ours.close()
            tables.append(show_table(case.name, rows, BASELINE, COMPILED, work, read_profile(target)))
        tensorrt.close()
        return "\n\n".join(tables), versions


def describe_shape(batch: int, tokens: int | None) -> str:
    return f"{batch} x {tokens} tokens" if tokens else f"batch {batch}"


if __name__ == "__main__":
    main()
