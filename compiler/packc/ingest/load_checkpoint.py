"""Loads a checkpoint as a PyTorch module whose outputs are what clients want: logits, or one vector a sample."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import numpy as np

from packc.errors import SourceError
from packc.ingest.config import read_config
from packc.ingest.reference import TRACE_BATCH, TorchReference
from packc.ingest.source import AudioInput, ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.ingest.tasks import HEADS, Head, find_head
from packc.spec.model import Pooling, Task

TRACE_SEQUENCE = 16

Attention = Literal["eager", "sdpa"]
"""How transformers computes attention: written out as plain matrix products, which fusions of ONNX graphs recognise, or
as one operator of PyTorch."""

POOLED_SUFFIXES = ("QuestionEncoder", "ContextEncoder")
"""Encoders that answer one vector a text and no hidden states."""

AUTO_CLASSES: dict[Task, str] = {
    "text-classification": "AutoModelForSequenceClassification",
    "text-ranking": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
    "image-classification": "AutoModelForImageClassification",
}
"""For checkpoints whose class is code of their own; the others are loaded with the very class that they name."""


def load_checkpoint(info: SourceInfo, attention: Attention = "eager") -> TorchReference:
    """The checkpoint with its head, or its encoder with pooling and normalisation in the module.

    Raises SourceError for a model type that transformers does not know, and when weights are missing: a head is never
    initialised at random. Raises ValueError for an `attention` that the model's class lacks.
    """
    import torch

    head = _find_wanted_head(info)
    model = _load_weights(info, head, attention)
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
        example = {preprocessing.input: torch.randn(shape, generator=torch.Generator().manual_seed(0))}
        dynamic = {0: ("batch", None)}
    elif isinstance(preprocessing, AudioInput):
        inputs = (preprocessing.input,)
        sizes = [preprocessing.typical if isinstance(dim, str) else dim for dim in preprocessing.shape]
        example = {preprocessing.input: torch.randn(TRACE_BATCH, *sizes, generator=torch.Generator().manual_seed(0))}
        open_axes = [(i, dim) for i, dim in enumerate(preprocessing.shape, start=1) if isinstance(dim, str)]
        dynamic = {0: ("batch", None), **{axis: (name, None) for axis, name in open_axes}}
    else:
        raise SourceError(f"{info.location}: no tokenizer and no image processor tell what the model reads")
    outputs = head.outputs if head else (_embedding_name(info),)
    module = _encoder_module(model, inputs, outputs, info).eval()
    reference = TorchReference(module, inputs, outputs, example, dynamic)
    _check_runs(reference, type(model).__name__)
    return reference


def _check_runs(reference: TorchReference, name: str) -> None:
    """Raises SourceError when the model needs other inputs than its files tell of, or answers differently each time."""
    inputs = {key: tensor.numpy() for key, tensor in reference.example.items()}
    try:
        first, second = reference.answer(inputs), reference.answer(inputs)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SourceError(
            f"{name} does not run on {', '.join(reference.inputs)} alone: {reason}",
            hint="export the model to .onnx, or give it as 'package.module:factory' with example inputs",
        ) from error
    if any(not np.allclose(first[key], second[key], rtol=1e-3, atol=1e-3, equal_nan=True) for key in first):
        raise SourceError(
            f"{name} answers the same inputs differently each time: it draws random numbers (masks, noise)",
            hint="no graph could be compared with it; give it as 'package.module:factory' without them",
        )


def _embedding_name(info: SourceInfo) -> str:
    if info.part == "text_tower":
        return "text_embeds"
    if info.part == "image_tower":
        return "image_embeds"
    if info.pooling == "none":
        return "pooler_output" if (info.architecture or "").endswith(POOLED_SUFFIXES) else "last_hidden_state"
    return "sentence_embedding" if isinstance(info.preprocessing, TextPreprocessing) else "image_embedding"


def _find_wanted_head(info: SourceInfo) -> Head | None:
    """The head that the task needs, that of the checkpoint's own class first; None when the encoder is wanted."""
    wanted = "text-classification" if info.task == "text-ranking" else info.task
    heads = [head for head in HEADS if head.task == wanted]
    return next(
        (head for head in heads if (info.architecture or "").endswith(head.suffix)), heads[0] if heads else None
    )


def _load_weights(info: SourceInfo, head: Head | None, attention: Attention) -> Any:
    import torch
    import transformers

    options: dict[str, Any] = {"trust_remote_code": info.trust_remote_code, "local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(info.location, **options)
    except (ValueError, KeyError) as error:
        file = Path(info.location, "config.json")
        raise SourceError(
            f"{file}: transformers {transformers.__version__} does not know the model type "
            f"{read_config(file).get('model_type')!r}",
            hint="export the model to .onnx, or give it as 'package.module:factory'",
        ) from error
    loader = _find_named_class(info, head)
    model_class = loader
    if loader is None:
        loader = getattr(transformers, AUTO_CLASSES.get(info.task, "AutoModel"))
        model_class = getattr(loader, "_model_mapping").get(type(config), None)  # noqa: B009
    else:
        del options["trust_remote_code"]
    if inspect.isclass(model_class) and "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
        options["add_pooling_layer"] = False
    model, loading = loader.from_pretrained(
        info.location,
        config=config,
        dtype=torch.float32,
        attn_implementation=attention,
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


def _find_named_class(info: SourceInfo, head: Head | None) -> Any:
    """The class of transformers that the checkpoint names, when it is what is wanted: its head, or no head at all.

    None where an auto class has to choose: for code of the checkpoint's own, and for the encoder under a head.
    """
    import transformers

    name = info.architecture or ""
    is_plain = find_head(name) is None and not name.endswith("ForPreTraining") and info.part != "encoder"
    if info.trust_remote_code or not (name.endswith(head.suffix) if head else is_plain):
        return None
    found = getattr(transformers, name, None)
    return found if inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel) else None


def _encoder_module(model: Any, inputs: tuple[str, ...], outputs: tuple[str, ...], info: SourceInfo) -> Any:
    """`model` as a module of positional tensors that returns a tuple of `outputs`."""
    import torch

    class Encoder(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = model.get_encoder() if info.part == "encoder" else model

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            arguments = dict(zip(inputs, tensors, strict=True))
            if info.part in ("text_tower", "image_tower"):
                features = self.model.get_text_features if info.part == "text_tower" else self.model.get_image_features
                result = features(**arguments)
                return (result if isinstance(result, torch.Tensor) else result.pooler_output,)
            result = self.model(**arguments, return_dict=True)
            needed = outputs if info.pooling == "none" else ("last_hidden_state",)
            if lacking := [name for name in needed if result.get(name) is None]:
                raise ValueError(f"its answer has no {lacking[0]}, but {', '.join(result)}")
            if info.pooling == "none":
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
