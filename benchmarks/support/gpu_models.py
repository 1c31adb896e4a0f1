"""Encoders of the standard sizes with random weights, as modules whose one output is what clients want."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from packc.ingest.reference import TorchReference
from packc.ingest.source import Geometry, SourceInfo
from packc.spec.model import Task
from packc.tensors import InputRange

CLASSES = 1000
BASE = Geometry(layers=12, heads=12, hidden=768, ffn=3072)
LONGEST = 512
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
IMAGE = "pixel_values"
SIDE = 224

Arrays = dict[str, npt.NDArray[Any]]


class Encoder(torch.nn.Module):
    """Positional tensors in; the mean of the token vectors or the logits out, in a tuple."""

    def __init__(self, model: Any, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
        given = dict(zip(self.inputs, tensors, strict=True))
        answer = self.model(**given)
        if "logits" in answer:
            return (answer.logits,)
        hidden = answer.last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return ((hidden * mask).sum(1) / mask.sum(1),)


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One model of the table, and the shapes (batch, tokens) at which it is timed."""

    name: str
    task: Task
    geometry: Geometry | None
    inputs: tuple[str, ...]
    make: Callable[[str], Any]
    """The transformers model in fp32 with that attention implementation."""
    shapes: tuple[tuple[int, int | None], ...]

    def build(self, attention: str, weights: Mapping[str, torch.Tensor] | None = None) -> Encoder:
        """The module with its attention written out ("eager") or fused ("sdpa"), with `weights` or random ones."""
        torch.manual_seed(0)
        encoder = Encoder(self.make(attention), self.inputs).eval()
        if weights is not None:
            encoder.load_state_dict(copy.deepcopy(dict(weights)))
        return encoder

    def refer(self, encoder: Encoder) -> TorchReference:
        """What the exporter takes."""
        example = {name: torch.from_numpy(array) for name, array in self.draw(2, 16).items()}
        dynamic: dict[int, tuple[str, int | None]] = {0: ("batch", None)}
        if self.inputs == TEXT_INPUTS:
            dynamic[1] = ("sequence", LONGEST)
        return TorchReference(encoder, self.inputs, ("answer",), example, dynamic)

    def draw(self, batch: int, tokens: int | None) -> Arrays:
        """Inputs of one shape, without padding."""
        generator = np.random.default_rng(0)
        if self.inputs == TEXT_INPUTS:
            ids = generator.integers(1000, 20000, (batch, tokens or 1))
            return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return {IMAGE: generator.standard_normal((batch, 3, SIDE, SIDE)).astype(np.float32)}

    def list_ranges(self, batch: int, tokens: int | None) -> tuple[InputRange, ...]:
        """The shapes of a workload that has this one alone, but for texts, which have any length."""
        usual = {name: array.shape for name, array in self.draw(batch, tokens).items()}
        if self.inputs != TEXT_INPUTS:
            return tuple(InputRange(name, (1, *s[1:]), (s,), s) for name, s in usual.items())
        return tuple(InputRange(name, (1, 1), (s,), (s[0], LONGEST)) for name, s in usual.items())

    def describe(self) -> SourceInfo:
        """What a plan has to know of it."""
        return SourceInfo(
            origin="torch", location=self.name, revision=None, fingerprint="", task=self.task, architecture=None,
            geometry=self.geometry, preprocessing=None, pooling="mean", normalize=False, labels=(), parameters=0,
            weights_mib=0.0, trust_remote_code=False,
        )  # fmt: skip


def make_bert(attention: str) -> Any:
    config = transformers.BertConfig(attn_implementation=attention)
    return transformers.BertModel(config, add_pooling_layer=False)


def make_vit(attention: str) -> Any:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(num_labels=CLASSES, attn_implementation=attention)
    )


def make_resnet(attention: str) -> Any:
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=CLASSES))


IMAGES: Task = "image-classification"
GPU_MODELS = {
    model.name: model
    for model in (
        GpuModel("bert-base", "feature-extraction", BASE, TEXT_INPUTS, make_bert, ((1, 128), (32, 128))),
        GpuModel("vit-base", IMAGES, BASE, (IMAGE,), make_vit, ((1, None), (32, None))),
        GpuModel("resnet-50", IMAGES, None, (IMAGE,), make_resnet, ((1, None), (32, None))),
    )
}
