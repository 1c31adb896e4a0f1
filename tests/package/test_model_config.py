from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from package_parts import make_token_sample
from packc.errors import SourceError
from packc.package import model_config
from packc.package.schema import config_schema
from packc.tensors import TensorSpec


def batched(max_batch_size: int = 4) -> Any:
    return model_config.new_config("m", max_batch_size)


def test_printed_config_parses_back() -> None:
    config = batched()
    model_config.add_tensor(config, "input", TensorSpec("x", "float32", ("batch", "sequence", 3)))
    model_config.add_cpu_instances(config, 2)
    model_config.add_batching(config, 50)
    config.parameters["key"].string_value = 'va"lue'
    assert text_format.Parse(model_config.print_config(config), config_schema().ModelConfig()) == config


def test_dims_leave_the_batch_out() -> None:
    config = batched()
    model_config.add_tensor(config, "input", TensorSpec("x", "int64", ("batch", "sequence")))
    assert list(config.input[0].dims) == [-1]
    whole = batched(0)
    model_config.add_tensor(whole, "output", TensorSpec("x", "int64", ("batch", 3)))
    assert list(whole.output[0].dims) == [-1, 3]


def test_a_tensor_of_the_batch_alone_is_reshaped() -> None:
    config = batched()
    model_config.add_tensor(config, "output", TensorSpec("score", "float32", ("batch",)))
    assert list(config.output[0].dims) == [1]
    assert config.output[0].HasField("reshape")
    assert list(config.output[0].reshape.shape) == []


@pytest.mark.parametrize(
    ("max_batch_size", "tensor", "message"),
    [
        (4, TensorSpec("x", "float32", (1, 3)), "'x' has shape \\[1, 3\\]: with batching"),
        (4, TensorSpec("x", "float32", ()), "with batching every tensor needs the batch first"),
        (0, TensorSpec("x", "float32", ()), "'x' is a scalar"),
        (4, TensorSpec("x", "complex64", ("batch",)), "element type complex64"),
    ],
)
def test_tensors_that_triton_cannot_carry(max_batch_size: int, tensor: TensorSpec, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        model_config.add_tensor(batched(max_batch_size), "input", tensor)


def test_preferred_sizes_are_written_as_given() -> None:
    config = model_config.new_config("m", 16)
    model_config.add_batching(config, 10, (4,))
    assert list(config.dynamic_batching.preferred_batch_size) == [4]


def test_batching_only_where_batches_are_possible() -> None:
    for size, expected in ((0, False), (1, False), (2, True)):
        config = batched(size)
        model_config.add_batching(config, 10)
        assert config.HasField("dynamic_batching") is expected


def test_warmup_covers_the_median_and_the_largest_sample() -> None:
    config = batched()
    for name in ("input_ids", "attention_mask"):
        model_config.add_tensor(config, "input", TensorSpec(name, "int64", ("batch", "sequence")))
    files = model_config.add_warmup(config, [make_token_sample(list(range(n))) for n in (9, 2, 5)])
    assert [(w.batch_size, list(w.inputs["input_ids"].dims)) for w in config.model_warmup] == [
        (1, [5]),
        (4, [5]),
        (1, [9]),
    ]
    assert sorted(files) == [f"warmup/{name}_{i}.bin" for name in ("largest", "median") for i in (0, 1)]
    assert np.frombuffer(files["warmup/median_0.bin"], dtype=np.int64).tolist() == [0, 1, 2, 3, 4]


def test_warmup_of_one_sample_and_of_none() -> None:
    config = batched(1)
    model_config.add_tensor(config, "input", TensorSpec("input_ids", "int64", ("batch", "sequence")))
    assert model_config.add_warmup(config, []) == {}
    model_config.add_warmup(config, [make_token_sample([2, 3])])
    assert [w.batch_size for w in config.model_warmup] == [1]


def test_warmup_without_batching_keeps_all_axes() -> None:
    config = batched(0)
    model_config.add_tensor(config, "input", TensorSpec("x", "float32", ("batch", 3)))
    files = model_config.add_warmup(config, [{"x": np.zeros((2, 3), dtype=np.float32)}])
    assert list(config.model_warmup[0].inputs["x"].dims) == [2, 3]
    assert len(files["warmup/median_0.bin"]) == 24


def test_warmup_strings_have_their_lengths() -> None:
    config = batched(1)
    model_config.add_tensor(config, "input", TensorSpec("text", "object", ("batch", 2)))
    files = model_config.add_warmup(config, [{"text": np.array([["é", b"ab"]], dtype=object)}])
    assert files["warmup/median_0.bin"] == b"\x02\x00\x00\x00\xc3\xa9\x02\x00\x00\x00ab"
