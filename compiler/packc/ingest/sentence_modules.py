"""Reads what a sentence-transformers folder puts before and behind its transformer, as far as pack repeats it."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from packc.errors import SourceError
from packc.ingest.config import Config, read_config
from packc.spec.model import Pooling

log = logging.getLogger(__name__)

_LOWERS = re.compile(r'"lowercase"\s*:\s*true|"type"\s*:\s*"Lowercase"')

_POOLING_MODES: dict[str, Pooling] = {
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """What a sentence-transformers folder puts around its transformer."""

    transformer: Path
    pooling: Pooling
    normalize: bool
    max_length: int | None


def read_sentence_modules(folder: Path) -> SentenceModules | None:
    """The modules of a sentence-transformers folder; None when `folder` is not one.

    Raises SourceError for modules other than Transformer, Pooling (mean, cls or max) and Normalize.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    try:
        entries = json.loads(path.read_text())
        listed = [(str(entry["type"]).rsplit(".", 1)[-1], folder / entry["path"]) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is not a list of sentence-transformers modules: {error!r}") from error
    kinds = [kind for kind, _ in listed]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise SourceError(
            f"{path} chains {' -> '.join(kinds)}: pack repeats Transformer -> Pooling [-> Normalize] only",
            hint="export the whole chain to .onnx, or give it as 'package.module:factory'",
        )
    transformer = listed[0][1]
    settings = read_config(transformer / "sentence_bert_config.json")
    _check_text_steps(folder, transformer, settings)
    return SentenceModules(
        transformer=transformer,
        pooling=_read_pooling(listed[1][1] / "config.json"),
        normalize=len(kinds) == 3,
        max_length=settings.get("max_seq_length"),
    )


def _check_text_steps(folder: Path, transformer: Path, settings: Config) -> None:
    """What sentence-transformers does to a text before its tokenizer sees it: refused, or told."""
    tokenizer = transformer / "tokenizer.json"
    if settings.get("do_lower_case") and tokenizer.is_file() and not _LOWERS.search(tokenizer.read_text("utf-8")):
        raise SourceError(
            f"{transformer / 'sentence_bert_config.json'} lowers the case of texts, which their tokenizer does not",
            hint="add a Lowercase normalizer to tokenizer.json, and set do_lower_case to false",
        )
    if prompt := read_config(folder / "config_sentence_transformers.json").get("default_prompt_name"):
        log.warning("%s puts its prompt %r before every text: clients must send it themselves", folder, prompt)


def _read_pooling(path: Path) -> Pooling:
    config = read_config(path)
    modes = config.get("pooling_mode") or [
        key for key, on in config.items() if key.startswith("pooling_mode_") and on is True
    ]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in _POOLING_MODES:
        raise SourceError(
            f"{path} pools by {' + '.join(map(str, modes)) or 'nothing'}: pack repeats one of mean, cls and max",
            hint="export the whole model to .onnx, or give it as 'package.module:factory'",
        )
    return _POOLING_MODES[modes[0]]
