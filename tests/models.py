"""Tiny models for tests: checkpoints and ONNX files that are made in a second or two and need no network.

Every `make_*` function fills `folder` (which must not exist yet) and returns it, or returns the file it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_VOCABULARY = (
    "a the red blue green small large old new cat dog bird fish horse house garden river road city "
    "runs sleeps eats sings falls opens closes moves turns waits in on under over near with and or not very"
)
WORDS = _VOCABULARY.split()
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_tiny_bert(
    folder: Path,
    *,
    head: str | None = None,
    labels: tuple[str, ...] = ("negative", "positive"),
    pooling: str | None = None,
    normalize: bool = False,
    max_length: int = 64,
    layers: int = 2,
) -> Path:
    """A random BERT with a WordPiece tokenizer over WORDS; hidden 32, 4 heads.

    `head`: None (BertModel) or "SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM".
    `pooling`: "mean", "cls" or "max" makes it a sentence-transformers folder, with a Normalize module on request.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=write_tokenizer(folder, max_length),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=max_length,
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model_class = getattr(transformers, f"BertFor{head}" if head else "BertModel")
    model_class(config).eval().save_pretrained(folder)
    if pooling:
        _write_sentence_transformers_files(folder, pooling, normalize, max_length)
    return folder


def write_tokenizer(folder: Path, max_length: int = 64) -> int:
    """tokenizer.json and tokenizer_config.json of an uncased WordPiece over WORDS and letters; returns its size."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    pieces = [*SPECIAL_TOKENS, *dict.fromkeys([*WORDS, *letters, *(f"##{c}" for c in letters)])]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": max_length,
            **{f"{name.strip('[]').lower()}_token": name for name in SPECIAL_TOKENS},
        },
    )
    return len(vocabulary)


def make_digits_classifier(folder: Path) -> Path:
    """A small convolutional ResNet checkpoint trained on scikit-learn's digits to more than 90 % accuracy.

    It takes 3 x 32 x 32 images; `preprocessor_config.json` is ViT's. The images it was not trained on are written by
    `write_digits_images`.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = transformers.ResNetConfig(
        num_channels=3,
        embedding_size=16,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        layer_type="basic",
        num_labels=10,
        id2label={i: str(i) for i in range(10)},
        label2id={str(i): i for i in range(10)},
    )
    model = transformers.ResNetForImageClassification(config)
    images, labels = _digits(train=True)
    pixels = torch.from_numpy((images / 255.0 - 0.5) / 0.5).float().unsqueeze(1).expand(-1, 3, -1, -1)
    targets = torch.from_numpy(labels)
    epochs, batch_size = 6, 64
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-3, epochs=epochs, steps_per_epoch=-(-len(targets) // batch_size)
    )
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(targets)).split(batch_size):
            optimizer.zero_grad()
            model(pixel_values=pixels[batch], labels=targets[batch]).loss.backward()
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
    model.eval().save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": 32, "width": 32},
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    return folder


def write_digits_images(folder: Path, count: int = 200) -> Path:
    """`count` held-out digits as 32 x 32 PNG files, one sub-folder a class ("0".."9")."""
    from PIL import Image

    images, labels = _digits(train=False)
    for i, (image, label) in enumerate(zip(images[:count], labels[:count], strict=True)):
        class_folder = folder / str(label)
        class_folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(class_folder / f"{i:04}.png")
    return folder


def make_tiny_vit(folder: Path) -> Path:
    """A random ViTForImageClassification over 32 x 32 images: hidden 32, 2 layers, 4 heads, 3 classes."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        initializer_range=0.3,
        id2label={0: "cat", 1: "dog", 2: "bird"},
        label2id={"cat": 0, "dog": 1, "bird": 2},
    )
    transformers.ViTForImageClassification(config).eval().save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 32, "width": 32},
            "resample": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    return folder


def write_smooth_images(folder: Path, count: int = 4, size: tuple[int, int] = (48, 40)) -> Path:
    """`count` colourful PNG files of `size` (width, height), flat in `folder`."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for i in range(count):
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{i:04}.png")
    return folder


def make_tiny_onnx(path: Path, *, external_data: bool = False, edit: Callable[[Any], None] | None = None) -> Path:
    """`scores = Relu(features @ weight + bias)`: features [batch, 8] -> scores [batch, 4], opset 20.

    `external_data` stores the weight in `<name>.data` beside it; `edit(model)` may change the ModelProto first.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    weight = generator.standard_normal((8, 4)).astype(np.float32)
    bias = generator.standard_normal(4).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weight"], ["product"], name="matmul"),
            helper.make_node("Add", ["product", "bias"], ["sum"], name="add"),
            helper.make_node("Relu", ["sum"], ["scores"], name="relu"),
        ],
        "tiny",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if edit:
        edit(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    if external_data:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_sentences(count: int, words: int = 6) -> list[str]:
    """`count` different sentences of about `words` words from WORDS."""
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, max(1, words + i % 3 - 1))) for i in range(count)]


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _digits(*, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Digits as uint8 images [count, 32, 32] and int64 labels: four fifths to train on, the rest held out."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images * (255 / 16)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    held_out = np.arange(len(images)) % 5 == 0
    chosen = ~held_out if train else held_out
    return images[chosen], data.target[chosen].astype(np.int64)


def _write_sentence_transformers_files(folder: Path, pooling: str, normalize: bool, max_length: int) -> None:
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if normalize else [])
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(modules)
        ],
    )
    (folder / "1_Pooling").mkdir()
    chosen = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}[pooling]
    modes = {f"pooling_mode_{mode}": mode == chosen for mode in ("cls_token", "mean_tokens", "max_tokens")}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **modes})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
