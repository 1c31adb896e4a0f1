"""Runs a `package.module:factory`; packc.ingest.torch_module tells the protocol."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from packc.errors import SourceError
from packc.ingest.reference import TRACE_BATCH, TorchReference
from packc.ingest.source import SourceInfo


def load_factory(info: SourceInfo, search_path: Sequence[str]) -> TorchReference:
    """What the factory returns, its example inputs widened to a batch that can be traced.

    Raises SourceError when the factory fails or returns something else.
    """
    import torch

    sys.path[:0] = [entry for entry in search_path if entry not in sys.path]
    module_name, factory_name = info.location.split(":")
    try:
        returned = getattr(importlib.import_module(module_name), factory_name)()
    except Exception as error:
        raise SourceError(f"{info.location} failed: {type(error).__name__}: {error}") from error
    if not (
        isinstance(returned, tuple)
        and len(returned) == 2
        and isinstance(returned[0], torch.nn.Module)
        and isinstance(returned[1], dict)
        and returned[1]
        and all(isinstance(value, torch.Tensor) and value.dim() > 0 for value in returned[1].values())
    ):
        raise SourceError(
            f"{info.location} must return (nn.Module, dict of example tensors); it returned {type(returned).__name__}",
            hint="the keys are the names of forward's arguments, dimension 0 of each tensor is the batch",
        )
    model, example = returned
    batches = {value.shape[0] for value in example.values()}
    if len(batches) > 1:
        raise SourceError(f"{info.location}: the example inputs differ in dimension 0, the batch: {sorted(batches)}")
    names = tuple(example)
    repeats = 1 if batches.pop() >= TRACE_BATCH else TRACE_BATCH
    wide = {name: value.repeat_interleave(repeats, 0) for name, value in example.items()}
    model = model.eval().cpu()
    try:
        with torch.inference_mode():
            outputs = _name_outputs(model(**wide))
    except Exception as error:
        raise SourceError(
            f"{info.location}: the module fails on its example inputs: {type(error).__name__}: {error}",
            hint="the keys are the names of forward's arguments, dimension 0 of each tensor is the batch",
        ) from error
    return TorchReference(_positional_module(model, names), names, outputs, wide, {0: ("batch", None)})


def _name_outputs(result: Any) -> tuple[str, ...]:
    if isinstance(result, Mapping):
        return tuple(str(name) for name in result)
    if isinstance(result, tuple | list):
        return tuple(f"output_{i}" for i in range(len(result)))
    return ("output",)


def _positional_module(model: Any, inputs: tuple[str, ...]) -> Any:
    import torch

    class Positional(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            result = self.model(**dict(zip(inputs, tensors, strict=True)))
            if isinstance(result, Mapping):
                return tuple(result.values())
            return tuple(result) if isinstance(result, tuple | list) else (result,)

    return Positional().eval()
