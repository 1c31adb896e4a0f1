"""What the compilers of AOTInductor packages share: the source's module in a precision, and its way into a package."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from packc.errors import PackError
from packc.ingest.export import shorten_message, trace_module
from packc.ingest.load_source import load_source
from packc.ingest.reference import TorchReference
from packc.runtimes.aotinductor import COMPILERS, find_compiler

if TYPE_CHECKING:
    from packc.runtimes.compile import CompileRequest

MODEL_FILE = "model.pt2"

DTYPES: Mapping[str, str | None] = {"fp32": None, "tf32": None, "bf16": "bfloat16", "fp16": "float16"}
"""Precision -> the type of torch's that weights and sums have; None where they stay as they are."""


PROBE = "#include <string>\nstd::string probe(int number) { return std::to_string(number); }\n"
SHARED = b"libstdc++.so"
"""What a library that shares C++'s own library with PyTorch names as needed."""
PROBE_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where Inductor works."""

    folder: Path
    remarks: tuple[str, ...]
    """On the compiler."""


@contextmanager
def open_scratch() -> Iterator[Scratch]:
    """A folder for all that Inductor writes while it compiles, and the C++ compiler named; enter it before torch is
    imported. Raises PackError where no compiler shares its library with PyTorch."""
    # its name ends up in error messages of the code, and processes that compiled may still write into it at the end
    with TemporaryDirectory(prefix="pack-torch-", ignore_cleanup_errors=True) as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        command, remarks = choose_compiler(Path(folder))
        os.environ["CXX"] = str(write_compiler(Path(folder), command))
        yield Scratch(Path(folder), remarks)


def choose_compiler(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command of the first compiler, that of CXX before others, whose programs take C++'s library from where
    PyTorch does, and a remark if it is not the very first: two copies of it in one process crash when a package is
    loaded. Raises PackError where there is none."""
    first = find_compiler()
    others = (found for name in COMPILERS if (found := shutil.which(name)))
    problems: list[str] = []
    for command in (*([first] if first else []), *((found,) for found in others)):
        problem = find_problem(command, folder)
        if problem is None:
            return command, (f"torch: compiled by {command[0]}, since {problems[0]}",) if problems else ()
        problems.append(f"{shlex.join(command)} {problem}")
    raise PackError(
        f"no C++ compiler makes what PyTorch can load: {'; '.join(problems) or 'none is here'}",
        hint="name a compiler with CXX that links libstdc++ as a shared library, as g++ does by itself",
    )


def find_problem(command: Sequence[str], folder: Path) -> str | None:
    """Why a library that `command` makes would crash beside PyTorch, or that it makes none; None where it is right."""
    source, made = folder / "probe.cpp", folder / "probe.so"
    source.write_text(PROBE)
    made.unlink(missing_ok=True)
    try:
        subprocess.run(
            [*command, "-shared", "-fPIC", "-o", str(made), str(source)],
            capture_output=True,
            timeout=PROBE_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error).encode()).decode(errors="replace").strip()
        return f"compiles nothing: {said.splitlines()[-1] if said else error}"
    return None if SHARED in made.read_bytes() else "links C++'s library statically"


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


def load_module(request: CompileRequest) -> tuple[TorchReference, tuple[str, ...]]:
    """The source with PyTorch's own attention, which it fuses; written out, and a remark, where the model lacks it.

    Raises PackError without a source, SourceError when it cannot be loaded.
    """
    if request.info is None:
        raise PackError("the torch compiler works on the model's source, and the request names none")
    try:
        return load_source(request.info, request.search_path, "sdpa"), ()
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
    remark = "torch: the model's class has no fused attention; it runs as separate operators"
    return load_source(request.info, request.search_path, "eager"), (remark,)


def convert_module(module: Any, precision: str, *, channels_last: bool = False) -> Any:
    """`module` computing in `precision`, on images whose channels come last in memory if `channels_last`; its inputs
    and outputs keep their types and their layout.

    Raises PackError for a precision that is not one of DTYPES.
    """
    import torch

    if precision not in DTYPES:
        raise PackError(f"precision={precision}: PyTorch modules are compiled in {', '.join(DTYPES)}")
    name = DTYPES[precision]
    if name is None and not channels_last:
        return module
    dtype = getattr(torch, name) if name else None
    layout = torch.channels_last if channels_last else torch.preserve_format

    def give(tensor: Any) -> Any:
        tensor = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        return tensor.contiguous(memory_format=layout) if channels_last and tensor.dim() == 4 else tensor

    def take(tensor: Any) -> Any:
        tensor = tensor.float() if dtype and tensor.is_floating_point() else tensor
        return tensor.contiguous() if channels_last else tensor

    class Converted(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.to(dtype=dtype, memory_format=layout) if dtype else module.to(memory_format=layout)

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            return tuple(take(answer) for answer in self.inner(*map(give, tensors)))

    return Converted().eval()


def write_package(
    reference: TorchReference,
    settings: Mapping[str, Any],
    out: Path,
    rewrite: Callable[[Any], Any] | None = None,
    *,
    is_lenient: bool = False,
) -> None:
    """Compiles `reference` with `settings` of Inductor, those that this torch has, to MODEL_FILE in `out`. `rewrite`
    gives another exported program for the one that it is given; `is_lenient` is of packc.ingest.export.trace_module.

    Raises PackError when the module cannot be traced or compiled.
    """
    import torch

    try:
        with torch.no_grad():
            program = trace_module(reference, is_lenient=is_lenient)
            if rewrite is not None:
                program = rewrite(program)
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(out / MODEL_FILE), inductor_configs=keep_known(settings)
            )
    except Exception as error:
        raise PackError(
            f"AOTInductor failed: {type(error).__name__}: {shorten_message(str(error))}",
            hint="name the other runtimes in [optimize] runtimes for this model",
        ) from error


def keep_known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that this torch has: it fails for others, and its list of settings differs from one release to the next."""
    import torch

    known = frozenset(torch._inductor.list_options())
    return {name: value for name, value in settings.items() if name in known}
