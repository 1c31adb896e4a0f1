"""Tiny random checkpoints of model families, each made in well under a second: what ingest has to take apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models import write_json, write_tokenizer

SMALL: Mapping[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}
SEQUENCE: Mapping[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
TOKENS: Mapping[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
WAVEFORM: Mapping[str, Any] = {
    **SMALL,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 8),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 24,
}
IMAGE: Mapping[str, Any] = {"image_size": 32, "patch_size": 8}
PIXELS: Mapping[str, Any] = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def _clip(vocabulary: int) -> Any:
    import transformers

    text = {**SMALL, "vocab_size": vocabulary, "max_position_embeddings": 64, "eos_token_id": 3}
    return transformers.CLIPConfig(text_config=text, vision_config={**SMALL, **IMAGE}, projection_dim=16)


def _t5(vocabulary: int) -> Any:
    import transformers

    return transformers.T5Config(
        vocab_size=vocabulary, d_model=32, num_layers=2, num_heads=4, d_kv=8, d_ff=64, decoder_start_token_id=0
    )


def _make(config: str, **values: Any) -> Callable[[int], Any]:
    """A config of one class; the vocabulary's size goes in where there is one, unless `values` have their own."""

    def make(vocabulary: int) -> Any:
        import transformers

        config_class = getattr(transformers, config)
        size = {"vocab_size": vocabulary} if "vocab_size" in config_class().to_dict() else {}
        return config_class(**{**size, **values})

    return make


FAMILIES: Mapping[str, tuple[str, Callable[[int], Any]]] = {
    "clip": ("CLIPModel", _clip),
    "t5": ("T5ForConditionalGeneration", _t5),
    "t5-encoder": ("T5EncoderModel", _t5),
    "bart": ("BartForConditionalGeneration", _make("BartConfig", **SEQUENCE, max_position_embeddings=64)),
    "bart-classifier": ("BartForSequenceClassification", _make("BartConfig", **SEQUENCE, max_position_embeddings=64)),
    "dpr": ("DPRContextEncoder", _make("DPRConfig", **SMALL, max_position_embeddings=64)),
    "whisper": (
        "WhisperForConditionalGeneration",
        _make("WhisperConfig", **SEQUENCE, **TOKENS, num_mel_bins=16, max_source_positions=20,
              max_target_positions=20),
    ),
    "wav2vec2": ("Wav2Vec2ForCTC", _make("Wav2Vec2Config", **WAVEFORM)),
    "yolos": ("YolosForObjectDetection", _make("YolosConfig", **SMALL, image_size=[32, 32], patch_size=8,
                                                num_detection_tokens=5)),
    "segformer": (
        "SegformerForSemanticSegmentation",
        _make(
            "SegformerConfig",
            hidden_sizes=[8, 8, 16, 16],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
        ),
    ),
    "vit-mae": ("ViTMAEModel", _make("ViTMAEConfig", **SMALL, **IMAGE)),
    "re-ranker": (
        "BertForSequenceClassification",
        _make("BertConfig", **SMALL, max_position_embeddings=64, id2label={0: "relevance"}, label2id={"relevance": 0}),
    ),
}  # fmt: skip


def make_family(folder: Path, name: str) -> Path:
    """The checkpoint `name` of FAMILIES in `folder`, with a tokenizer and an image processor of 32 x 32."""
    import torch
    import transformers

    torch.manual_seed(0)
    architecture, make_config = FAMILIES[name]
    config = make_config(write_tokenizer(folder))
    write_json(folder / "preprocessor_config.json", PIXELS)
    getattr(transformers, architecture)(config).eval().save_pretrained(folder)
    return folder
