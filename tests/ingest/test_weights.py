"""Broken weight files are in test_inspect.py, with their texts."""

from __future__ import annotations

from pathlib import Path

from checkpoints import write_safetensors
from models import write_json
from packc.ingest.weights import read_weights


def test_shards_are_summed(tmp_path: Path) -> None:
    first = write_safetensors(tmp_path / "model-1.safetensors", {"a": (4, 5)})
    second = write_safetensors(tmp_path / "model-2.safetensors", {"b": (3,), "c": ()})
    shards = {"a": first.name, "b": second.name, "c": second.name}
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": shards})
    weights = read_weights(tmp_path)
    assert weights.files == (first, second)
    assert (weights.parameters, weights.size_bytes) == (24, 96)


def test_real_file_agrees_with_torch(tiny_vit_dir: Path) -> None:
    from safetensors import safe_open

    with safe_open(tiny_vit_dir / "model.safetensors", framework="np") as file:
        expected = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    weights = read_weights(tiny_vit_dir)
    assert (weights.parameters, weights.size_bytes) == (expected, 4 * expected)
