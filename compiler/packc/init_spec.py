"""Writes the first spec for a model: what is known of it filled in, the rest commented."""

from __future__ import annotations

import re
from pathlib import Path

from packc.ingest.source import AudioInput, ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.package.render import render_template
from packc.quality.gate import default_bound
from packc.quality.metrics import default_metric

TYPICAL_TOKENS = 32
MOST_TOKENS = 256
"""A sensible cap: few requests are longer, and the largest shape decides memory and warm-up."""


def render_spec(info: SourceInfo, name: str, source: str, file: str = "spec.toml") -> str:
    """Text of a spec that `read_spec` takes as it stands, for this machine as its target.

    `source` is what [model] source shall say; `file` is the spec's name, for its comments.
    """
    text = info.preprocessing if isinstance(info.preprocessing, TextPreprocessing) else None
    most = min(text.max_length, MOST_TOKENS) if text else None
    metric = default_metric(info.task)
    is_image = isinstance(info.preprocessing, ImagePreprocessing)
    return render_template(
        "spec.toml.j2",
        info=info,
        file=file if file.isprintable() else repr(file),
        model_name=name,
        source=source,
        revision=info.revision,
        takes=_say_inputs(info),
        sequence_typical=min(TYPICAL_TOKENS, most) if most else None,
        sequence_max=most,
        metric=metric,
        bound=default_bound(metric),
        data_name="images/" if is_image else "",
        data_suffix="" if is_image else ".jsonl" if text else ".npz",
    )


def suggest_name(source: str) -> str:
    """A name for the Triton model, from the path, hub id or factory: letters, digits, - and _."""
    module, _, factory = source.partition(":")
    parts = [part for part in Path(module.removesuffix(".onnx")).parts if part not in ("model", "/", "..", ".")]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", factory or (parts[-1] if parts else "")).strip("-_")
    return name[:64] or "model"


def _say_inputs(info: SourceInfo) -> str:
    match info.preprocessing:
        case TextPreprocessing() as text:
            return f"text of at most {text.max_length} tokens ({', '.join(text.inputs)})"
        case ImagePreprocessing() as image:
            return f"images, {image.channels} x {image.height} x {image.width} ({image.input})"
        case AudioInput() as audio:
            return f"audio as {audio.input} {list(audio.shape)}, made by the model's feature extractor"
        case _:
            return "tensors, as the model's own inputs"
