"""Reads the JSON files of a checkpoint folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packc.errors import SourceError
from packc.ingest.source import Geometry

Config = Mapping[str, Any]

_LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "encoder_layers")
_HEADS = ("num_attention_heads", "n_heads", "num_heads", "encoder_attention_heads")
_HIDDEN = ("hidden_size", "dim", "d_model", "emb_dim")
_FFN = ("intermediate_size", "hidden_dim", "d_ff", "encoder_ffn_dim")


def read_config(path: Path) -> Config:
    """The JSON object in `path`; an empty one when there is no such file. Raises SourceError when it is malformed."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is not readable as JSON: {error}", hint="fetch the checkpoint again") from error
    if not isinstance(config, dict):
        raise SourceError(f"{path} is not a JSON object", hint="fetch the checkpoint again")
    return config


def read_geometry(config: Config) -> Geometry | None:
    """The repeated structure that a transformer's config tells; None for other models."""
    values = [_first_int(config, names) for names in (_LAYERS, _HEADS, _HIDDEN, _FFN)]
    layers, heads, hidden, ffn = values
    if layers is None or heads is None or hidden is None:
        return None
    return Geometry(layers=layers, heads=heads, hidden=hidden, ffn=ffn if ffn is not None else 4 * hidden)


def read_labels(config: Config) -> tuple[str, ...]:
    """Class names in the order of the logits; empty when the config has none.

    No two are alike, so that a name tells its class: equal ones get their index, "crane" being "crane (134)" then.
    """
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        return ()
    try:
        by_index = {int(index): str(name) for index, name in names.items()}
    except ValueError:
        return ()
    if sorted(by_index) != list(range(len(by_index))):
        return ()
    return _distinguish([by_index[i] for i in sorted(by_index)])


def _distinguish(names: list[str]) -> tuple[str, ...]:
    counts = Counter(names)
    if len(counts) == len(names):
        return tuple(names)
    return _distinguish([f"{name} ({i})" if counts[name] > 1 else name for i, name in enumerate(names)])


def _first_int(config: Config, names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)
