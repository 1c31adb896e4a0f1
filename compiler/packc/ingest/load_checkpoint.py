"""Loads a checkpoint as a PyTorch module whose outputs are what clients want: logits, or one vector a sample."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from packc.errors import SourceError
from packc.ingest.config import read_config
from packc.ingest.reference import TRACE_BATCH, TorchReference
from packc.ingest.source import ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.ingest.tasks import head_class
from packc.spec.model import Pooling, Task

TRACE_SEQUENCE = 16

HEAD_OUTPUTS: dict[Task, tuple[str, ...]] = {
    "text-classification": ("logits",),
    "token-classification": ("logits",),
    "fill-mask": ("logits",),
    "image-classification": ("logits",),
    "question-answering": ("start_logits", "end_logits"),
}


def load_checkpoint(info: SourceInfo) -> TorchReference:
    """The checkpoint with its head, or its encoder with pooling and normalisation in the module.

    Attention is written out as plain matrix products ("eager"), the form that fusions recognise.
    Raises SourceError for a model type that transformers does not know, and when weights are missing: a head is never
    initialised at random.
    """
    import torch

    model = _load_weights(info)
    preprocessing = info.preprocessing
    if isinstance(preprocessing, TextPreprocessing):
        inputs = preprocessing.inputs
        sequence = min(TRACE_SEQUENCE, preprocessing.max_length)
        example = {name: torch.ones((TRACE_BATCH, sequence), dtype=torch.int64) for name in inputs}
        if "token_type_ids" in example:
            example["token_type_ids"].zero_()
        dynamic: dict[int, tuple[str, int | None]] = {0: ("batch", None), 1: ("sequence", preprocessing.max_length)}
    elif isinstance(preprocessing, ImagePreprocessing):
        inputs = (preprocessing.input,)
        shape = (TRACE_BATCH, preprocessing.channels, preprocessing.height, preprocessing.width)
        example = {preprocessing.input: torch.zeros(shape)}
        dynamic = {0: ("batch", None)}
    else:
        raise SourceError(f"{info.location}: no tokenizer and no image processor tell what the model reads")
    outputs = HEAD_OUTPUTS.get(info.task) or (_embedding_name(info),)
    module = _encoder_module(model, inputs, outputs, info).eval()
    return TorchReference(module, inputs, outputs, example, dynamic)


def _embedding_name(info: SourceInfo) -> str:
    if info.pooling == "none":
        return "last_hidden_state"
    return "sentence_embedding" if isinstance(info.preprocessing, TextPreprocessing) else "image_embedding"


def _load_weights(info: SourceInfo) -> Any:
    import torch
    import transformers

    options: dict[str, Any] = {"trust_remote_code": info.trust_remote_code, "local_files_only": True}
    auto_class = getattr(transformers, head_class(info.task))
    try:
        config = transformers.AutoConfig.from_pretrained(info.location, **options)
    except (ValueError, KeyError) as error:
        file = Path(info.location, "config.json")
        raise SourceError(
            f"{file}: transformers {transformers.__version__} does not know the model type "
            f"{read_config(file).get('model_type')!r}",
            hint="export the model to .onnx, or give it as 'package.module:factory'",
        ) from error
    model_class = getattr(auto_class, "_model_mapping").get(type(config), None)  # noqa: B009
    if inspect.isclass(model_class) and "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
        options["add_pooling_layer"] = False
    model, loading = auto_class.from_pretrained(
        info.location,
        config=config,
        dtype=torch.float32,
        attn_implementation="eager",
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    unset = sorted({*loading["missing_keys"], *(str(entry[0]) for entry in loading["mismatched_keys"])})
    if unset:
        shown = ", ".join(unset[:3]) + (f" and {len(unset) - 3} more" if len(unset) > 3 else "")
        raise SourceError(
            f"{info.location} has no weights for {len(unset)} tensors of {type(model).__name__}: {shown}",
            hint="they would be random; give a checkpoint that was saved whole",
        )
    return model


def _encoder_module(model: Any, inputs: tuple[str, ...], outputs: tuple[str, ...], info: SourceInfo) -> Any:
    """`model` as a module of positional tensors that returns a tuple of `outputs`."""
    import torch

    class Encoder(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            arguments = dict(zip(inputs, tensors, strict=True))
            result = self.model(**arguments, return_dict=True)
            if info.task in HEAD_OUTPUTS:
                return tuple(result[name] for name in outputs)
            vectors = pool_hidden(result.last_hidden_state, arguments.get("attention_mask"), info.pooling)
            return (torch.nn.functional.normalize(vectors, p=2.0, dim=1) if info.normalize else vectors,)

    return Encoder()


def pool_hidden(hidden: Any, mask: Any, pooling: Pooling) -> Any:
    """One vector a sample from `hidden` [batch, tokens, width] or [batch, width, height, width']; all of it for "none".

    `mask` [batch, tokens] is 1 at tokens that count; None means all do.
    """
    if pooling == "none":
        return hidden
    if hidden.dim() == 4:
        hidden = hidden.flatten(2).transpose(1, 2)
    if pooling == "cls":
        return hidden[:, 0]
    if mask is None:
        return hidden.mean(1) if pooling == "mean" else hidden.amax(1)
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling == "mean":
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return hidden.masked_fill(weights == 0, -1e9).amax(1)
