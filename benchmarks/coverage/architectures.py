"""Which architectures there are: the classes that transformers' own tables name, the base model of a type first."""

from __future__ import annotations

from dataclasses import dataclass

OWN_HEADS = (
    "MODEL_FOR_OBJECT_DETECTION",
    "MODEL_FOR_SEMANTIC_SEGMENTATION",
    "MODEL_FOR_UNIVERSAL_SEGMENTATION",
    "MODEL_FOR_DEPTH_ESTIMATION",
    "MODEL_FOR_AUDIO_CLASSIFICATION",
    "MODEL_FOR_CTC",
    "MODEL_FOR_TEXT_ENCODING",
)
"""Heads and encoders with code of their own. The heads of texts and image classifiers are one layer on an encoder that
has its row already; all of them are tried on BERT and ViT."""

SIMPLE_HEADS = (
    "MODEL_FOR_SEQUENCE_CLASSIFICATION",
    "MODEL_FOR_TOKEN_CLASSIFICATION",
    "MODEL_FOR_QUESTION_ANSWERING",
    "MODEL_FOR_MASKED_LM",
    "MODEL_FOR_IMAGE_CLASSIFICATION",
)
SIMPLE_TYPES = ("bert", "vit", "resnet", "bart", "t5")


@dataclass(frozen=True, slots=True)
class Architecture:
    """One class that a checkpoint's config may name."""

    model_type: str
    name: str


def list_architectures() -> tuple[Architecture, ...]:
    """All of them but causal language models, in the order of transformers' tables."""
    from transformers.models.auto import modeling_auto as tables

    found: dict[Architecture, None] = {}
    for table in ("MODEL", *OWN_HEADS, *SIMPLE_HEADS):
        for model_type, names in getattr(tables, f"{table}_MAPPING_NAMES").items():
            if table in SIMPLE_HEADS and model_type not in SIMPLE_TYPES:
                continue
            found |= {Architecture(model_type, name): None for name in ([names] if isinstance(names, str) else names)}
    decoders = find_decoders()
    return tuple(architecture for architecture in found if architecture.model_type not in decoders)


def find_decoders() -> frozenset[str]:
    """Model types that are causal language models, and neither masked nor sequence-to-sequence ones as well."""
    from transformers.models.auto import modeling_auto as tables

    others = {
        *tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *tables.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        *tables.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    }
    return frozenset(set(tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - others)
