"""PyTorch module -> AOTInductor package for CPUs, from the model's source; runs in packc.runtimes.compile_worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from packc.host import list_instructions, probe_host
from packc.ingest.reference import TorchReference
from packc.runtimes.aotinductor_package import convert_module, load_module, open_scratch, write_package

if TYPE_CHECKING:
    from packc.runtimes.compile import CompileRequest


def compile_model(request: CompileRequest) -> tuple[str, ...]:
    """Writes model.pt2, with the names of its tensors and what it needs to run in its metadata. The step's options:

    precision    "fp32", or "bf16": weights and sums in bf16, while inputs and outputs keep their types

    The compiler uses all that this CPU has, so its instructions are what the package needs.
    Raises PackError when the module cannot be traced or compiled, SourceError when it cannot be loaded.
    """
    precision = str(request.step.options["precision"])
    with open_scratch() as scratch:
        import torch

        version = torch.__version__.partition("+")[0]
        reference, remarks = load_module(request)
        reference = replace(reference, module=convert_module(reference.module, precision))
        write_package(reference, make_settings(reference, precision, version, list_instructions()), request.out)
    return (
        *scratch.remarks,
        *remarks,
        f"torch: runs in torch {version} alone, on CPUs with all instructions of {probe_host().name}",
    )


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
