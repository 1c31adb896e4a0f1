"""Checkpoint folders that look right from outside, made without torch: for what is read before a weight is loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from models import write_json

BERT_CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 100,
    "type_vocab_size": 2,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
VIT_CONFIG: dict[str, Any] = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "num_channels": 3,
    "image_size": 32,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "id2label": {"1": "dog", "0": "cat"},
}
VIT_PROCESSOR: dict[str, Any] = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}


def write_bert_folder(folder: Path, **changes: Any) -> Path:
    """A text checkpoint; `changes` go into its config, None removes a key."""
    write_config(folder, BERT_CONFIG, changes)
    write_json(folder / "tokenizer.json", {})
    write_json(folder / "tokenizer_config.json", {"model_max_length": 48})
    write_safetensors(folder / "model.safetensors", {"weight": (4, 5), "bias": (5,)})
    return folder


def write_vit_folder(folder: Path, **processor: Any) -> Path:
    """An image checkpoint; `processor` are keys of preprocessor_config.json, None removes one."""
    write_config(folder, VIT_CONFIG, {})
    kept = {key: value for key, value in {**VIT_PROCESSOR, **processor}.items() if value is not None}
    write_json(folder / "preprocessor_config.json", kept)
    write_safetensors(folder / "model.safetensors", {"weight": (4, 5)})
    return folder


def write_sentence_files(folder: Path, *modules: str, pooling: dict[str, Any] | None = None) -> Path:
    """Makes a checkpoint folder a sentence-transformers one with `modules` and the config `pooling`."""
    listed = [{"path": "" if i == 0 else f"{i}_{kind}", "type": f"lib.{kind}"} for i, kind in enumerate(modules)]
    write_json(folder / "modules.json", listed)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32})
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", pooling or {"pooling_mode_mean_tokens": True})
    return folder


def write_config(folder: Path, base: dict[str, Any], changes: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {key: value for key, value in {**base, **changes}.items() if value is not None})


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """fp32 zeros of the given shapes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path
