"""Builds config.pbtxt as Triton's own protobuf: what must be written so that a strict server guesses nothing.

Rules that shape this file: every input and output is written, since a missing one makes backends change
max_batch_size; dims leave the batch out when max_batch_size > 0; a [batch]-shaped tensor is `dims: 1` reshaped to
nothing; printed text always parses back, since the protobuf prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from packc.errors import SourceError
from packc.package.datatypes import triton_type
from packc.package.schema import config_schema
from packc.samples import Array, Sample
from packc.tensors import TensorSpec

VERSION = 1
"""The version folder that a package carries."""


def new_config(name: str, max_batch_size: int) -> Any:
    """A ModelConfig that serves its latest version."""
    config = config_schema().ModelConfig(name=name, max_batch_size=max_batch_size)
    config.version_policy.latest.num_versions = 1
    return config


def add_tensor(config: Any, side: Literal["input", "output"], tensor: TensorSpec) -> None:
    """Appends `tensor`, whose shape still has its batch axis, to one side of `config`.

    Raises SourceError when Triton cannot carry the tensor in that shape or type.
    """
    shape = tensor.shape
    if config.max_batch_size > 0:
        if not tensor.is_batched:
            raise SourceError(
                f"{side} {tensor.name!r} has shape {list(shape)}: with batching every tensor needs the batch first",
                hint="export the model with a dynamic first axis for all its inputs and outputs",
            )
        shape = shape[1:]
    entry = getattr(config, side).add(name=tensor.name)
    entry.data_type = config_schema().DataType.Value(triton_type(tensor.name, tensor.dtype))
    if shape:
        entry.dims.extend(size if isinstance(size, int) else -1 for size in shape)
    elif config.max_batch_size > 0:
        entry.dims.append(1)
        entry.reshape.SetInParent()
    else:
        raise SourceError(
            f"{side} {tensor.name!r} is a scalar, which Triton cannot carry without batching",
            hint="reshape it inside the graph to one element: [1]",
        )


def add_cpu_instances(config: Any, count: int) -> None:
    """`count` copies of the model on the CPU."""
    config.instance_group.add(count=count, kind=config_schema().ModelInstanceGroup.KIND_CPU)


def add_instances(config: Any, count: int, device: Literal["cpu", "gpu"]) -> None:
    """`count` copies of the model on the CPU, or on the first GPU that the server sees: what was measured is one."""
    if device == "cpu":
        add_cpu_instances(config, count)
    else:
        config.instance_group.add(count=count, kind=config_schema().ModelInstanceGroup.KIND_GPU, gpus=[0])


def add_batching(config: Any, queue_delay_us: int, preferred_batch_sizes: Sequence[int] = ()) -> None:
    """Lets requests that wait at the same time run as one batch; only where batches are possible at all."""
    if config.max_batch_size > 1:
        config.dynamic_batching.SetInParent()
        config.dynamic_batching.max_queue_delay_microseconds = queue_delay_us
        config.dynamic_batching.preferred_batch_size.extend(preferred_batch_sizes)


def add_cache(config: Any) -> None:
    """Lets Triton answer repeated requests from its response cache (the server needs --cache-config too)."""
    config.response_cache.enable = True


def add_warmup(config: Any, samples: Sequence[Sample], calls: int = 1) -> dict[str, bytes]:
    """Runs real samples while the model loads, each `calls` times: the median one, alone and as a full batch, and the
    largest one.

    Each of `samples` holds every input with a batch axis (of which row 0 is used) when the model batches.
    Returns the raw files that belong into the model's folder, by path.
    """
    if not samples:
        return {}
    by_size = sorted(samples, key=lambda sample: sum(array.size for array in sample.values()))
    median, largest = by_size[len(by_size) // 2], by_size[-1]
    files = _warm(config, "median", median, 1, calls)
    if config.max_batch_size > 1:
        files |= _warm(config, "median", median, config.max_batch_size, calls)
    return files if largest is median else files | _warm(config, "largest", largest, 1, calls)


def print_config(config: Any) -> str:
    """`config` as the text of config.pbtxt."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))


def _warm(config: Any, name: str, sample: Sample, batch_size: int, calls: int) -> dict[str, bytes]:
    warmup = config.model_warmup.add(name=f"{name} sample x {batch_size}", batch_size=batch_size)
    if calls > 1:
        warmup.count = calls
    files = {}
    for position, tensor in enumerate(config.input):
        array = sample[tensor.name][0] if config.max_batch_size > 0 else sample[tensor.name]
        file = f"{name}_{position}.bin"
        entry = warmup.inputs[tensor.name]
        entry.data_type = tensor.data_type
        entry.dims.extend(array.shape or (1,))
        entry.input_data_file = file
        files[f"warmup/{file}"] = _raw_bytes(array)
    return files


def _raw_bytes(array: Array) -> bytes:
    """Row-major bytes; strings as a 4-byte length and their text each, as Triton reads them."""
    if array.dtype.kind not in "OUS":
        return array.tobytes()
    texts = (item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist())
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
