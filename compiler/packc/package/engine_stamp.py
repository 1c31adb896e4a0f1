"""What a TensorRT engine was built by and for: model.json beside model.plan, as the adapter writes it.

An engine loads in one version of TensorRT and on one GPU, unless it was built to travel. Its bindings need not have the
element types of the graph: TensorRT 8 has int32 where the graph has int64.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from packc.errors import PackError
from packc.ingest.source import SourceModel
from packc.samples import Array, Sample
from packc.tensors import TensorSpec

PLAN_SUFFIX = ".plan"

Shape = tuple[int, ...]

SHAPE = r"\d+(x\d+)*"


@dataclass(frozen=True, slots=True)
class Binding:
    """A tensor at the engine's border."""

    name: str
    dtype: str
    """numpy's name."""
    dims: Shape
    """-1 for open axes."""


@dataclass(frozen=True, slots=True)
class EngineStamp:
    """The adapter's facts, those that pack reads; the file has more."""

    tensorrt: str
    """In full, with its build."""
    device: str
    compute_capability: str
    driver: str
    os: str
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    profiles: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    build_s: float = 0.0

    @property
    def is_version_compatible(self) -> bool:
        """Whether other versions of TensorRT load it too, by code that it brings."""
        return bool(self.options.get("version_compatible", False))

    @property
    def hardware_compatible(self) -> str:
        """Which other GPUs load it too: "none", "ampere_plus" or "same_compute_capability"."""
        return str(self.options.get("hardware_compatible", "none"))

    def describe(self) -> str:
        """ "TensorRT 10.16.1.11 for NVIDIA H200 (compute capability 9.0)"."""
        return f"TensorRT {self.tensorrt} for {self.device} (compute capability {self.compute_capability})"


def find_stamp(model: Path) -> EngineStamp | None:
    """The stamp of the artifact whose main file is `model`; None where that is no engine.

    Raises PackError for an engine whose stamp is missing or malformed: nobody can tell where it loads.
    """
    if model.suffix != PLAN_SUFFIX:
        return None
    path = model.with_suffix(".json")
    try:
        return TypeAdapter(EngineStamp).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise PackError(
            f"{model} has no {path.name} beside it, which says what it was built by and for", hint="build it again"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the top"
        raise PackError(f"{path} is malformed at {place}: {first['msg']}", hint="build it again") from None


def bind_source(source: SourceModel, stamp: EngineStamp) -> SourceModel:
    """The source with the element types of the engine's bindings.

    Raises PackError where the engine lacks one of its tensors.
    """
    return replace(source, inputs=_bind(source.inputs, stamp.inputs), outputs=_bind(source.outputs, stamp.outputs))


def cast_samples(samples: Sequence[Sample], inputs: Sequence[TensorSpec]) -> list[Sample]:
    """The samples in the element types of `inputs`."""
    types = {tensor.name: tensor.dtype for tensor in inputs}
    return [{name: _cast(array, types.get(name)) for name, array in sample.items()} for sample in samples]


def read_profile(text: str) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Input -> its least, usual and largest shape: "ids=1x1/1x32/8x128 mask=...".

    Raises PackError for a text of another form.
    """
    profile = {}
    for word in text.split():
        name, _, ranges = word.rpartition("=")
        if not name or not re.fullmatch(rf"{SHAPE}(/{SHAPE}/{SHAPE})?", ranges):
            raise PackError(f"{text!r} is no optimization profile, at {word!r}")
        shapes = [tuple(int(size) for size in shape.split("x")) for shape in ranges.split("/")]
        least, usual, most = shapes * 3 if len(shapes) == 1 else shapes
        profile[name] = (least, usual, most)
    return profile


def _bind(tensors: Sequence[TensorSpec], bindings: Sequence[Binding]) -> tuple[TensorSpec, ...]:
    types = {binding.name: binding.dtype for binding in bindings}
    if missing := [tensor.name for tensor in tensors if tensor.name not in types]:
        raise PackError(f"the engine has no {', '.join(missing)}; it has {', '.join(types)}")
    return tuple(replace(tensor, dtype=types[tensor.name]) for tensor in tensors)


def _cast(array: Array, dtype: str | None) -> Array:
    return array if dtype is None or array.dtype.name == dtype else array.astype(dtype)
