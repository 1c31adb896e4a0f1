"""Looks at a Hugging Face checkpoint folder, sentence-transformers folders included, without loading a weight."""

from __future__ import annotations

import logging
from pathlib import Path

from packc.errors import SourceError
from packc.ingest.audio_input import read_audio_input
from packc.ingest.config import Config, read_config, read_geometry, read_labels
from packc.ingest.fingerprint import fingerprint_files
from packc.ingest.preprocessing import read_image_preprocessing, read_text_preprocessing
from packc.ingest.sentence_modules import SentenceModules, read_sentence_modules
from packc.ingest.source import Part, Preprocessing, SourceInfo
from packc.ingest.tasks import ENCODER_TASKS, HEADS, Modality, choose_task, find_head
from packc.ingest.weights import read_weights
from packc.spec.model import ModelSection, Pooling, Task

log = logging.getLogger(__name__)

FINGERPRINT_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model", ".py"})
"""The files that decide what a checkpoint computes."""

LABELLED_TASKS = frozenset(
    {
        "text-classification",
        "token-classification",
        "image-classification",
        "audio-classification",
        "object-detection",
        "image-segmentation",
    }
)

DUAL_ENCODERS = frozenset(
    {
        "aimv2",
        "align",
        "altclip",
        "chinese_clip",
        "clip",
        "clipseg",
        "groupvit",
        "metaclip_2",
        "siglip",
        "siglip2",
        "vision-text-dual-encoder",
    }
)
"""Model types of two encoders that were trained together, with a projection each: `get_text_features` and
`get_image_features` of their class."""

PADDED_TEXT_TYPES = frozenset({"siglip", "siglip2", "siglip_text_model", "siglip2_text_model"})
"""Model types whose text vector is that of the last of so many padded positions."""


def inspect_checkpoint(folder: Path, model: ModelSection) -> SourceInfo:
    """What `folder` holds. Raises SourceError when it is not a checkpoint that pack can compile faithfully."""
    modules = read_sentence_modules(folder)
    root = modules.transformer if modules else folder
    config = read_config(root / "config.json")
    if not config:
        raise SourceError(
            f"{root} is not a checkpoint: it has no config.json",
            hint="give the folder that `save_pretrained` wrote, a hub id, an .onnx file or 'package.module:factory'",
        )
    architecture = _read_architecture(root, config)
    _refuse_unsupported(root, config, model)
    modality, part = _choose_part(root, config, architecture, model.task)
    task = choose_task(
        architecture,
        modality,
        model.task,
        is_sentence_encoder=modules is not None,
        labels=len(read_labels(config)),
    )
    own = config if part in ("whole", "encoder") else _tower_config(config, part)
    weights = read_weights(root)
    pooling = _choose_pooling(model, modules, task, part)
    return SourceInfo(
        origin="huggingface",
        location=str(root),
        revision=model.revision,
        fingerprint=fingerprint_files(_content_files(folder), folder),
        task=task,
        architecture=architecture,
        geometry=read_geometry(own),
        preprocessing=_read_preprocessing(root, own, modality, modules.max_length if modules else None),
        pooling=pooling,
        normalize=modules is not None and modules.normalize and pooling != "none",
        labels=read_labels(config) if task in LABELLED_TASKS else (),
        parameters=weights.parameters,
        weights_mib=weights.size_bytes / 2**20,
        trust_remote_code=model.trust_remote_code,
        part=part,
    )


def _read_preprocessing(root: Path, config: Config, modality: Modality, max_length: int | None) -> Preprocessing:
    if modality == "text":
        return read_text_preprocessing(root, config, max_length)
    if modality == "image":
        return read_image_preprocessing(root, config)
    audio = read_audio_input(config)
    assert audio is not None
    return audio


def _read_architecture(root: Path, config: Config) -> str:
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise SourceError(
            f"{root / 'config.json'} does not name one architecture (`architectures` is {names!r}), "
            "so pack cannot tell which head the weights belong to",
            hint="save the checkpoint again with `save_pretrained` of the class that it was trained with",
        )
    if not names[0].isidentifier():
        raise SourceError(
            f"{root / 'config.json'} names an architecture that is no class name: {names[0][:60]!r}",
            hint="fetch the checkpoint again, from where you trust it",
        )
    return names[0]


def _refuse_unsupported(root: Path, config: Config, model: ModelSection) -> None:
    helpers = [read_config(root / name) for name in ("tokenizer_config.json", "preprocessor_config.json")]
    if any("auto_map" in part for part in (config, *helpers)) and not model.trust_remote_code:
        raise SourceError(
            f"{root} brings Python code of its own, which pack does not run",
            hint="when you trust it: trust_remote_code = true in [model]",
        )
    if "quantization_config" in config:
        raise SourceError(f"{root} is already quantized", hint="give the original checkpoint: pack quantizes it itself")


def _choose_part(root: Path, config: Config, architecture: str, wanted: Task | None) -> tuple[Modality, Part]:
    """What the model reads, and what of it is compiled. Raises SourceError for models that are no encoder."""
    if "text_config" in config and not config.keys().isdisjoint(("vision_config", "audio_config")):
        return _choose_tower(root, config, architecture, wanted)
    modality = _modality(root, config)
    if modality == "text" and config.get("model_type") in PADDED_TEXT_TYPES:
        raise _padded_text_error(root)
    if not config.get("is_encoder_decoder") or modality == "image" or architecture.endswith("EncoderModel"):
        if architecture.endswith("ForConditionalGeneration"):
            raise SourceError(
                f"{root} generates ({architecture}): pack compiles encoders",
                hint="export the model to .onnx, or give it as 'package.module:factory'",
            )
        return modality, "whole"
    tasks = ENCODER_TASKS[modality]
    if find_head(architecture, modality) and wanted not in tasks:
        raise SourceError(
            f"{root}: the head of {architecture} reads the decoder, and pack compiles encoders",
            hint=f"task = {tasks[0]!r} in [model] compiles its encoder alone; export the model to .onnx otherwise",
        )
    log.info("of the sequence-to-sequence model %s, its encoder is compiled", architecture)
    return modality, "encoder"


def _choose_tower(root: Path, config: Config, architecture: str, wanted: Task | None) -> tuple[Modality, Part]:
    """The text tower of a dual encoder, unless the spec wants image features."""
    if config.get("model_type") not in DUAL_ENCODERS or not architecture.endswith("Model"):
        raise SourceError(
            f"{root} joins several modalities ({architecture}): pack compiles one encoder at a time",
            hint="save the tower that you serve as a checkpoint of its own (CLIPVisionModel, CLIPTextModel, ...)",
        )
    if wanted == "image-feature-extraction":
        return "image", "image_tower"
    if config.get("model_type") in PADDED_TEXT_TYPES:
        if wanted is not None:
            raise _padded_text_error(root)
        return "image", "image_tower"
    if wanted is None:
        log.info("%s has two encoders, this is its text one: for images, task = 'image-feature-extraction'", root)
    return "text", "text_tower"


def _tower_config(config: Config, part: Part) -> Config:
    tower: Config = config["text_config" if part == "text_tower" else "vision_config"]
    return tower


def _padded_text_error(root: Path) -> SourceError:
    return SourceError(
        f"{root}: this text encoder reads texts padded to its full length, which pack's exact lengths would change",
        hint="export it to .onnx and send it tensors",
    )


def _modality(root: Path, config: Config) -> Modality:
    if read_audio_input(config) is not None:
        return "audio"
    is_image = "patch_size" in config and "max_position_embeddings" not in config  # BEiT's vocabulary is of patches
    if "vocab_size" in config and not is_image:
        return "text"
    if "num_channels" in config or "image_size" in config or (root / "preprocessor_config.json").is_file():
        return "image"
    raise SourceError(
        f"{root / 'config.json'} tells neither a vocabulary nor image channels: pack compiles encoders of text, images "
        "and audio",
        hint="export the model to .onnx, or give it as 'package.module:factory'",
    )


def _choose_pooling(model: ModelSection, modules: SentenceModules | None, task: str, part: Part) -> Pooling:
    """The spec's pooling, else the folder's own; sentence vectors of a plain encoder are means, as is usual."""
    if part in ("text_tower", "image_tower"):
        if model.pooling not in (None, "none"):
            raise SourceError(f"pooling = {model.pooling!r}: the model pools and projects by itself", hint="remove it")
        return "none"
    if model.pooling is not None:
        if task == "text-ranking" or any(head.task == task for head in HEADS):
            raise SourceError(f"pooling = {model.pooling!r} makes no sense for the task {task!r}", hint="remove it")
        return model.pooling
    if modules is not None:
        return modules.pooling
    return "mean" if task == "sentence-similarity" else "none"


def _content_files(folder: Path) -> list[Path]:
    """Files that decide what the checkpoint computes; what a download left in hidden folders does not."""
    found = (file for file in folder.rglob("*") if file.suffix in FINGERPRINT_SUFFIXES and file.is_file())
    return [file for file in found if not file.relative_to(folder).parts[0].startswith(".")]
