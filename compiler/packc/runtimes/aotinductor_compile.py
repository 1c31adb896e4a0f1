"""PyTorch module -> AOTInductor package, from the model's source; runs in packc.runtimes.compile_worker."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from packc.errors import PackError
from packc.host import list_instructions, probe_host
from packc.ingest.export import shorten_message, trace_module
from packc.ingest.load_source import load_source
from packc.ingest.reference import TorchReference
from packc.runtimes.aotinductor import find_compiler

if TYPE_CHECKING:
    from packc.runtimes.compile import CompileRequest

MODEL_FILE = "model.pt2"


def compile_model(request: CompileRequest) -> tuple[str, ...]:
    """Writes model.pt2, with the names of its tensors and what it needs to run in its metadata. The step's options:

    precision    "fp32", or "bf16": weights and sums in bf16, while inputs and outputs keep their types

    The compiler uses all that this CPU has, so its instructions are what the package needs.
    Raises PackError when the module cannot be traced or compiled, SourceError when it cannot be loaded.
    """
    if request.info is None:
        raise PackError("the torch compiler works on the model's source, and the request names none")
    options = request.step.options
    with TemporaryDirectory(prefix="pack-torch-") as scratch:  # its name ends up in error messages of the code
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = scratch
        if command := find_compiler():
            os.environ["CXX"] = str(write_compiler(Path(scratch), command))
        import torch

        reference, remarks = _load(request)
        precision = str(options["precision"])
        reference = replace(reference, module=cast_module(reference.module, precision))
        isa = list_instructions()
        version = torch.__version__.partition("+")[0]
        try:
            with torch.no_grad():
                program = trace_module(reference)
                torch._inductor.aoti_compile_and_package(
                    program,
                    package_path=str(request.out / MODEL_FILE),
                    inductor_configs=keep_known(make_settings(reference, precision, version, isa)),
                )
        except Exception as error:
            raise PackError(
                f"AOTInductor failed: {type(error).__name__}: {shorten_message(str(error))}",
                hint="leave torch out of [optimize] runtimes for this model",
            ) from error
    return (*remarks, f"torch: runs in torch {version} alone, on CPUs with all instructions of {probe_host().name}")


def write_compiler(folder: Path, command: Sequence[str]) -> Path:
    """A program that runs the compiler's `command`: Inductor takes CXX for one word. It is called g++ or clang++, since
    Inductor tells the two apart by their names."""
    if len(command) == 1:
        return Path(command[0])
    name = "clang++" if any("clang" in Path(word).name for word in command) else "g++"
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    return program


def make_settings(reference: TorchReference, precision: str, version: str, isa: Sequence[str]) -> dict[str, Any]:
    """Of the compiler: threads left open, the names that the engine needs, and weights packed where that pays.

    Frozen weights go to oneDNN's kernels, which bf16 needs. In fp32 MKL's are faster: all-MiniLM-L6-v2 takes 0.85, 0.70
    and 0.67 x the time with them (1 x 32, 1 x 128, 16 x 128 tokens; CPU time of one thread, AVX2).
    """
    return {
        "freezing": precision == "bf16",
        "cpp.dynamic_threads": True,  # the number of threads is the server's to choose, not a constant of the code
        "compile_threads": 1,  # no pool of processes that would outlive a killed build
        "aot_inductor.check_lowerbound": False,  # a batch or text of one is traced as two, and fits all the same
        "aot_inductor.precompile_headers": False,  # for many models after each other; here there is one
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.metadata": {
            "pack.torch": version,
            "pack.isa": json.dumps(isa),
            "pack.inputs": json.dumps(reference.inputs),
            "pack.outputs": json.dumps(reference.outputs),
        },
    }


def keep_known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that this torch has: it fails for others, and its list of settings differs from one release to the next."""
    import torch

    known = frozenset(torch._inductor.list_options())
    return {name: value for name, value in settings.items() if name in known}


def cast_module(module: Any, precision: str) -> Any:
    """`module` computing in `precision`, with inputs and outputs of the types that it had before.

    Raises PackError for a precision that is neither fp32 nor bf16.
    """
    import torch

    if precision == "fp32":
        return module
    if precision != "bf16":
        raise PackError(f"precision={precision}: there are only precision=fp32 and precision=bf16")

    class InBf16(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(torch.bfloat16)

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            given = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in tensors)
            return tuple(answer.float() if answer.is_floating_point() else answer for answer in self.inner(*given))

    return InBf16().eval()


def _load(request: CompileRequest) -> tuple[TorchReference, tuple[str, ...]]:
    """The source with PyTorch's own attention, which it fuses; written out, and a remark, where the model lacks it."""
    assert request.info is not None, "checked by the caller"
    try:
        return load_source(request.info, request.search_path, "sdpa"), ()
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
    remark = "torch: the model's class has no fused attention; it runs as separate operators"
    return load_source(request.info, request.search_path, "eager"), (remark,)
