"""How much a model has to compute at a shape: the multiplications of its graph and the weights that they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from packc.cache import Cache, cache_key
from packc.child import ask_child
from packc.ingest.fingerprint import fingerprint_files, hash_file
from packc.measure import work_child
from packc.tensors import ShapeCase


@dataclass(frozen=True, slots=True)
class Work:
    """What a graph does in one call at one shape, product by product as it is written, in whatever precision."""

    flops: float
    """Of matrix products and convolutions; a multiplication and an addition are two."""
    weights: float
    """Elements of the constants that these read; each has to be read once."""
    window_flops: float = 0.0
    """Those of `flops` that are of convolutions with windows larger than 1 x 1. These alone may take fewer: Winograd's
    way does a 3 x 3 one in 1/2.25 to 1/4 of the multiplications."""


@dataclass(frozen=True, slots=True)
class WorkRequest:
    """What the child counts: the graph in a call with each of the first `cases` samples."""

    model: Path
    samples: Path
    cases: int


def count_work(graph: Path, cases: Sequence[ShapeCase], latency_inputs: Path, cache: Cache) -> tuple[Work, ...]:
    """The work of the ONNX file `graph` at each case, whose inputs are the samples of `latency_inputs`.

    Raises PackError when the graph cannot be run.
    """
    adapter = TypeAdapter(tuple[Work, ...])

    def make(folder: Path) -> None:
        request = TypeAdapter(WorkRequest).dump_json(WorkRequest(graph, latency_inputs, len(cases)))
        answer = ask_child("packc.measure.work_child", request, "counting the model's work")
        (folder / "work.json").write_bytes(adapter.dump_json(adapter.validate_json(answer)))

    beside = [file for file in graph.parent.rglob("*") if file.is_file()]
    content, code = fingerprint_files(beside, graph.parent), hash_file(Path(work_child.__file__))
    inputs = hash_file(latency_inputs)
    key = cache_key(graph=content, main=graph.name, inputs=inputs, cases=len(cases), code=code)
    return adapter.validate_json((cache.get_or_make("work", key, make) / "work.json").read_bytes())
