"""What is known of a model: before its export (SourceInfo) and after it (SourceModel)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packc.spec.model import Pooling, Task
from packc.tensors import Dim, TensorSpec

Origin = Literal["huggingface", "onnx", "torch"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The repeated structure of a transformer, from its config: what fusions to expect.

    `layers` encoder layers, `heads` attention heads, `hidden` and `ffn` widths in elements.
    """

    layers: int
    heads: int
    hidden: int
    ffn: int


@dataclass(frozen=True, slots=True)
class TextPreprocessing:
    """How text becomes token tensors: `tokenizer.json` (tokenizers format) and its limits in tokens."""

    tokenizer: Path
    max_length: int
    pad_id: int
    inputs: tuple[str, ...]
    """Names of the token tensors that the graph takes, among input_ids, attention_mask, token_type_ids."""
    pairs: bool = False
    """Whether samples are two texts that a tab separates; a tab is a character like any other otherwise."""
    pads_left: bool = False
    """Whether texts of one batch are filled up at their beginning."""

    def split(self, text: str) -> tuple[str, str | None]:
        """The text of a sample and its second one, if any, as a tokenizer takes them."""
        first, tab, second = text.partition("\t") if self.pairs else (text, "", "")
        return first, second if tab else None


@dataclass(frozen=True, slots=True)
class ImagePreprocessing:
    """How encoded image bytes become a float32 tensor [3 or 1, height, width].

    Decode -> convert to RGB (or L when channels is 1) -> resize -> centre crop -> x `rescale` -> (x - mean) / std.
    """

    channels: int
    height: int
    width: int
    resize_shortest_edge: int | None
    """Resize so that the shorter edge has this many pixels, then centre-crop; None resizes to height x width."""
    resample: int
    """Pillow's resampling filter number."""
    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input: str
    """Name of the image tensor that the graph takes."""


@dataclass(frozen=True, slots=True)
class AudioInput:
    """The tensor that an audio encoder reads. Clients make it with the model's feature extractor: pack packs none."""

    input: str
    """Name of the tensor: `input_values` (a waveform) or `input_features`."""
    shape: tuple[Dim, ...]
    """Without the batch; an axis that varies has a name."""
    typical: int
    """Size of the axis that varies in generated samples and in the trace; one second of a waveform."""


Preprocessing = TextPreprocessing | ImagePreprocessing | AudioInput

Part = Literal["whole", "encoder", "text_tower", "image_tower"]
"""What of a checkpoint is compiled: the class that it names, the encoder of a sequence-to-sequence model, or one of the
two encoders that were trained together (CLIP) with its projection."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A model that was looked at but not loaded: enough to plan, cheap to get, no torch imported."""

    origin: Origin
    location: str
    """The checkpoint folder (a hub id is resolved to its local snapshot), the .onnx file, or "module:factory"."""
    revision: str | None
    fingerprint: str
    """sha256 over the content of the model's files (names and bytes)."""
    task: Task
    architecture: str | None
    geometry: Geometry | None
    preprocessing: Preprocessing | None
    pooling: Pooling
    normalize: bool
    """Whether the pooled vector is scaled to unit length, as sentence-transformers' Normalize module does."""
    labels: tuple[str, ...]
    """Class names in the order of the logits; empty where the task has none."""
    parameters: int
    """Number of weights; 0 when it is not known before loading."""
    weights_mib: float
    trust_remote_code: bool
    part: Part = "whole"
    opset: int | None = None
    """Of an .onnx file; None where pack exports the graph itself, in the opset that its passes know."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """An exported model whose ONNX graph was compared with its source and equals it within `parity_max_error`."""

    info: SourceInfo
    graph: Path
    """fp32 ONNX file; external data, if any, lies beside it."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    answer: str
    """Name of the output that quality is judged on and clients want: pooled embedding, logits, ..."""
    parity_max_error: float
    """Largest absolute difference between source and export over the compared shapes."""
    exporter: str
    """What exported it, with versions."""
    has_convolutions: bool = True
    """False where the graph is sure to have none."""
