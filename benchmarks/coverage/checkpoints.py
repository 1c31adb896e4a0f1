"""Writes a tiny random checkpoint of an architecture: its default config, shrunk by the names of its keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from architectures import Architecture
from overrides import OVERRIDES

HIDDEN, FFN, LAYERS, HEADS, VOCABULARY, POSITIONS, IMAGE, PATCH = 32, 64, 2, 4, 160, 80, 64, 16
MAX_TOKENS = 64

RULES: tuple[tuple[str, Any], ...] = (
    (r"(?!.*(conv|feat_extract)).*(layers|n_layer|num_layer|num_blocks)", LAYERS),
    (r".*(_heads|n_heads?|num_head)", HEADS),
    (
        r"(.*_)?(head_dim|d_kv|qk_nope_head_dim|qk_rope_head_dim|v_head_dim|head_size|attention_head_size)",
        HIDDEN // HEADS,
    ),
    (r"(.*_)?(intermediate_size|ffn_dim|ffn_hidden_size|d_ff|n_inner|ffn_size|inner_dim|d_inner|mlp_dim)", FFN),
    (r"(.*_)?(hidden_size|d_model|n_embd|embed_dim|embedding_size|hidden_dim|projection_dim|dim|emb_dim)", HIDDEN),
    (r"(.*_)?vocab_size", VOCABULARY),
    (
        r"(.*_)?(max_position_embeddings|n_positions|max_sequence_length|max_source_positions|max_target_positions)",
        POSITIONS,
    ),
    (r"(.*_)?image_size", IMAGE),
    (r"(.*_)?patch_size", PATCH),
    (r".*(num_.*experts|n_routed_experts)", 4),
    (r".*(experts_per_tok|num_experts_per_token|topk_group|n_group|moe_topk)", 1),
    (r"(q|kv|o)_lora_rank", 16),
    (r"num_queries|num_object_queries", 8),
)
"""Pattern of a key and what its number becomes, when it is larger; a list keeps its length."""

DERIVED = frozenset({"dtype", "out_features", "out_indices", "stage_names"})
"""Keys that the config class makes anew from the others."""

TOKEN_ID = re.compile(r"(.*_)?token_(id|index)|.*_id")
PIXELS: Mapping[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": IMAGE, "width": IMAGE},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def make_config(architecture: Architecture) -> Any:
    """The shrunk config of an architecture. Raises whatever its class does about it."""
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[architecture.model_type]
    values = shrink_values(config_class().to_dict())
    values |= OVERRIDES.get(architecture.model_type, {})
    values |= OVERRIDES.get(architecture.name, {})
    config = config_class.from_dict(values)
    config.architectures = [architecture.name]
    return config


def shrink_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config's values made small, nested configs too; token ids fit the vocabulary."""
    layers = {key: value for key, value in values.items() if key in ("num_hidden_layers", "num_layers", "n_layer")}
    depth = next((value for value in layers.values() if isinstance(value, int)), None)
    return {key: _shrink(key, value, depth) for key, value in values.items() if key not in DERIVED}


def _shrink(key: str, value: Any, depth: int | None) -> Any:
    if isinstance(value, Mapping):
        return shrink_values(value) if "model_type" in value else value
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and TOKEN_ID.fullmatch(key):
        return 0 if key == "pad_token_id" else min(value, VOCABULARY - 1)
    if isinstance(value, list):
        if key in ("layer_types", "mlp_layer_types", "layers_block_type") and depth and len(value) == depth:
            return value[:LAYERS]
        if key in ("depths", "num_blocks") and all(isinstance(entry, int) for entry in value):
            return [1] * len(value)
        if value and all(isinstance(entry, int) and not isinstance(entry, bool) for entry in value):
            return [min(entry, 2) if "heads" in key else _limit(key, entry) for entry in value]
        return value
    return _limit(key, value) if isinstance(value, int) else value


def _limit(key: str, value: int) -> int:
    limit = next((limit for pattern, limit in RULES if re.fullmatch(pattern, key)), value)
    return min(value, limit)


def write_helpers(folder: Path) -> None:
    """A tokenizer and an image processor, as every checkpoint gets them; only those of its kind are read."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters)])
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_TOKENS, "pad_token": "[PAD]"},
    )
    _write(folder / "preprocessor_config.json", PIXELS)


def write_config(folder: Path, config: Any) -> None:
    """config.json as `save_pretrained` writes it, and a file of weights without any: enough to be looked at."""
    write_helpers(folder)
    config.save_pretrained(folder)
    header = b'{"__metadata__": {"format": "pt"}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def write_weights(folder: Path, config: Any, name: str) -> None:
    """Random weights of the class `name`."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    for parameter in model.parameters():
        if not torch.isfinite(parameter).all() or not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    model.float().save_pretrained(folder)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))
