"""PyTorch module -> AOTInductor package for the NVIDIA GPU that is here, from the model's source; runs in
packc.runtimes.compile_worker."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packc.candidate import OptionValue
from packc.errors import PackError
from packc.ingest.reference import TorchReference
from packc.runtimes.aotinductor_conv import merge_relu
from packc.runtimes.aotinductor_gelu import merge_gelu
from packc.runtimes.aotinductor_package import convert_module, load_module, open_scratch, write_package
from packc.runtimes.cuda_toolkit import point_to_cuda

if TYPE_CHECKING:
    from packc.runtimes.compile import CompileRequest

DEVICE = "cuda:0"
NO_PLACE = {
    "ReLU": "the others end no convolution for tensor cores that nothing else reads",
    "GELU": "the others follow no linear layer with a bias that nothing else reads",
}
"""Why operators that were asked to be merged with what is before them stayed."""
LEAST_OPEN = 2
"""Elements of an axis that is left open, where a module is traced; shorter ones fit all the same."""
MASK_ALIGNMENT = 8
"""Elements that rows of an attention mask are padded to a multiple of, for PyTorch's memory-efficient attention."""
MOST_WORKERS = 8
"""Processes that compile kernels side by side, at most."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a package is bound to."""

    torch: str
    cuda: str
    """The CUDA that this torch was built with."""
    capability: str
    gpu: str


def compile_model(request: CompileRequest) -> tuple[str, ...]:
    """Writes model.pt2, with the names of its tensors and what it needs to run in its metadata. The step's options:

    precision    "fp32"; "tf32": products of fp32 numbers with 10 bits of mantissa; "bf16", "fp16": weights and sums in
                 16 bits, while inputs and outputs keep their types
    nhwc         whether images are laid out with their channels last, as convolutions in tensor cores want them
    usual        sizes of the input with the most axes, "32x128", as the workload mostly has them: kernels are chosen
                 for these, and run at others
    fixed        whether there are no others: the program then takes these alone
    relu         whether cuDNN's convolutions end in bias, sum and ReLU (packc.runtimes.aotinductor_conv)
    gelu         whether GELU is computed in the epilogue of the product before it (packc.runtimes.aotinductor_gelu)

    Weights are constants of the program: normalisations after convolutions become part of those, and products of the
    same input one product. Raises PackError without a GPU, or when the module cannot be traced or compiled;
    SourceError when it cannot be loaded.
    """
    with open_scratch() as scratch:
        point_to_cuda(scratch.folder)
        reference, remarks = load_module(request)
        return (*scratch.remarks, *remarks, *compile_reference(reference, request.step.options, request.out))


def compile_reference(reference: TorchReference, options: Mapping[str, OptionValue], out: Path) -> tuple[str, ...]:
    """Does compile_model's work for a module that is loaded; remarks on what the package is bound to, and on what was
    expected and did not happen."""
    require_gpu()
    precision, nhwc = str(options["precision"]), bool(options.get("nhwc", False))
    set_tf32(precision == "tf32")
    if usual := options.get("usual"):
        sizes = [int(size) for size in str(usual).split("x")]
        reference = resize_example(reference, sizes, is_fixed=bool(options.get("fixed", False)))
    module = convert_module(reference.module, precision, channels_last=nhwc).to(DEVICE)
    example = {name: tensor.to(DEVICE) for name, tensor in reference.example.items()}
    reference, made = replace(reference, module=module, example=example), describe_device()
    remarks: list[str] = []

    def rewrite(program: Any) -> Any:
        if options.get("gelu", False):
            remarks.extend(tell_unmerged("GELU", *merge_gelu(program)))
        if options.get("relu", False):
            program, *counts = merge_relu(program)
            remarks.extend(tell_unmerged("ReLU", *counts))
        return program

    write_package(reference, make_settings(reference, made, nhwc), out, rewrite, is_lenient=True)
    need = f"torch {made.torch} with CUDA {made.cuda}, on GPUs of compute capability {made.capability} ({made.gpu})"
    return (f"torch-cuda: runs in {need} alone", *remarks)


def tell_unmerged(name: str, merged: int, found: int) -> tuple[str, ...]:
    """A remark where not all operators of this name in NO_PLACE were merged, or there are none."""
    if not found:
        return (f"torch-cuda: the program has no {name}, so none was merged",)
    return () if merged == found else (f"torch-cuda: {merged} of {found} {name}s were merged: {NO_PLACE[name]}",)


def resize_example(reference: TorchReference, sizes: Sequence[int], *, is_fixed: bool) -> TorchReference:
    """The example inputs repeated or cut to `sizes` along the axes that are open, none of which is if `is_fixed`.

    An open axis is not quite as long: see `choose_size`.
    """
    import torch

    wanted = {
        axis: sizes[axis] if is_fixed else choose_size(axis, sizes[axis], largest)
        for axis, (_, largest) in reference.dynamic.items()
    }
    example = dict(reference.example)
    for name, tensor in example.items():
        for axis, size in wanted.items():
            if axis < tensor.dim():
                tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
        example[name] = tensor.contiguous()
    return replace(reference, example=example, dynamic={} if is_fixed else reference.dynamic)


def choose_size(axis: int, usual: int, largest: int | None) -> int:
    """The size nearest to `usual` at which what PyTorch sees while it traces holds for all sizes up to `largest`.

    One element would be taken for a constant. A length that is a multiple of MASK_ALIGNMENT would have it leave out the
    padding of attention masks, which other lengths need: nothing tells them apart in a program that is compiled.
    """
    size = max(LEAST_OPEN, usual)
    if axis == 0 or size % MASK_ALIGNMENT:
        return size
    return size - 1 if largest is not None and size >= largest else size + 1


def require_gpu() -> None:
    """Raises PackError where torch has none."""
    import torch

    if not torch.cuda.is_available():
        raise PackError(f"torch {torch.__version__} finds no GPU here to compile for")


def describe_device() -> Made:
    """This torch, and the GPU that it compiles for."""
    import torch

    major, minor = torch.cuda.get_device_capability(DEVICE)
    version = torch.__version__.partition("+")[0]
    return Made(version, str(torch.version.cuda), f"{major}.{minor}", torch.cuda.get_device_name(DEVICE))


def set_tf32(is_on: bool) -> None:
    """Whether products of fp32 numbers lose bits, in kernels of Inductor's and in those of libraries. The engine says
    it again where the package runs."""
    import torch

    torch.set_float32_matmul_precision("high" if is_on else "highest")
    torch.backends.cudnn.allow_tf32 = is_on


def make_settings(reference: TorchReference, made: Made, nhwc: bool) -> dict[str, Any]:
    """Of the compiler: weights as constants, the layout, and what the engine needs to know. With an open batch Inductor
    would leave convolutions in the layout that they have."""
    return {
        "freezing": True,
        "force_layout_optimization": nhwc,
        "compile_threads": min(MOST_WORKERS, len(os.sched_getaffinity(0))),  # they end when this process does
        "aot_inductor.check_lowerbound": False,  # a batch or text of one is traced as two, and fits all the same
        "aot_inductor.compile_wrapper_opt_level": "O0",  # it only launches kernels, and a recorded graph not even that
        "aot_inductor.precompile_headers": False,  # for many models after each other; here there is one
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.metadata": {
            "pack.torch": made.torch,
            "pack.cuda": made.cuda,
            "pack.capability": made.capability,
            "pack.gpu": made.gpu,
            "pack.inputs": json.dumps(reference.inputs),
            "pack.outputs": json.dumps(reference.outputs),
        },
    }
