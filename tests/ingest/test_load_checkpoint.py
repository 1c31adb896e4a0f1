from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_bert_folder
from families import make_family
from models import make_tiny_bert
from packc.errors import SourceError
from packc.ingest.inspect import inspect_source
from packc.ingest.load_checkpoint import load_checkpoint, pool_hidden
from packc.ingest.reference import TorchReference
from packc.ingest.source import AudioInput, SourceInfo
from packc.spec.model import ModelSection, Pooling, Task

PADDED = {
    "input_ids": np.array([[2, 6, 7, 3], [2, 9, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.zeros((2, 4), np.int64),
}


def test_embedding_is_that_of_sentence_transformers(bert_reference: TorchReference, tiny_bert_dir: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(tiny_bert_dir), device="cpu")
    texts = ["the red cat", "a small bird sings in the garden"]
    tokens = model.tokenizer(texts, padding=True, return_tensors="np")
    ours = bert_reference.answer(dict(tokens))["sentence_embedding"]
    np.testing.assert_allclose(ours, model.encode(texts), atol=1e-5)


def test_padding_does_not_change_the_answer(bert_reference: TorchReference) -> None:
    both = bert_reference.answer(PADDED)["sentence_embedding"]
    short = bert_reference.answer({name: array[1:, :3] for name, array in PADDED.items()})["sentence_embedding"]
    np.testing.assert_allclose(both[1:], short, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "outputs", "shape"),
    [
        ("SequenceClassification", ("logits",), (2, 2)),
        ("TokenClassification", ("logits",), (2, 4, 2)),
        ("QuestionAnswering", ("start_logits", "end_logits"), (2, 4)),
    ],
)
def test_heads(head: str, outputs: tuple[str, ...], shape: tuple[int, ...], tmp_path: Path) -> None:
    folder = make_tiny_bert(tmp_path / "bert", head=head, layers=1)
    reference = load_checkpoint(inspect_source(ModelSection(name="m", source=str(folder))))
    answers = reference.answer(PADDED)
    assert tuple(answers) == reference.outputs == outputs
    assert answers[outputs[0]].shape == shape


def test_a_head_without_weights_is_refused(bert_info: SourceInfo) -> None:
    """Even when the config lies about the head, loading sees that its weights are missing."""
    with pytest.raises(SourceError, match=r"no weights for \d tensors of BertForSequenceClassification: classifier"):
        load_checkpoint(replace(bert_info, task="text-classification"))


def test_a_model_type_that_transformers_does_not_know(tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "bert", model_type="foobar")
    with pytest.raises(SourceError, match=r"config\.json: transformers [\d.]+ does not know the model type 'foobar'"):
        load_checkpoint(inspect_source(ModelSection(name="m", source=str(folder))))


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [[2.0, 2.0]]), ("cls", [[1.0, 4.0]]), ("max", [[3.0, 4.0]])]
)
def test_pooling_leaves_padding_out(pooling: Pooling, expected: list[list[float]]) -> None:
    import torch

    hidden = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]]])
    assert pool_hidden(hidden, torch.tensor([[1, 1, 0]]), pooling).tolist() == expected


def test_pooling_of_feature_maps() -> None:
    import torch

    maps = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert pool_hidden(maps, None, "mean").tolist() == [[1.5, 5.5]]
    assert pool_hidden(maps, None, "max").tolist() == [[3.0, 7.0]]


@pytest.mark.parametrize(
    ("family", "wanted", "outputs", "shape"),
    [
        ("clip", None, ("text_embeds",), (2, 16)),
        ("clip", "image-feature-extraction", ("image_embeds",), (2, 16)),
        ("t5", None, ("last_hidden_state",), (2, 16, 32)),
        ("t5-encoder", None, ("last_hidden_state",), (2, 16, 32)),
        ("t5", "sentence-similarity", ("sentence_embedding",), (2, 32)),
        ("bart", None, ("last_hidden_state",), (2, 16, 32)),
        ("dpr", None, ("pooler_output",), (2, 32)),
        ("whisper", None, ("last_hidden_state",), (2, 20, 32)),
        ("wav2vec2", None, ("logits",), (2, 798, 24)),
        ("yolos", None, ("logits", "pred_boxes"), (2, 5, 3)),
        ("segformer", None, ("logits",), (2, 2, 8, 8)),
        ("re-ranker", None, ("logits",), (2, 1)),
    ],
)
def test_families(
    family: str, wanted: Task | None, outputs: tuple[str, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    folder = make_family(tmp_path / family, family)
    reference = load_checkpoint(inspect_source(ModelSection(name="m", source=str(folder), task=wanted)))
    answers = reference.answer({name: tensor.numpy() for name, tensor in reference.example.items()})
    assert tuple(answers) == reference.outputs == outputs
    assert answers[outputs[0]].shape == shape


def test_a_model_that_draws_random_numbers_is_refused(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "mae", "vit-mae")
    with pytest.raises(SourceError, match="ViTMAEModel answers the same inputs differently each time"):
        load_checkpoint(inspect_source(ModelSection(name="m", source=str(folder))))


def test_a_model_that_needs_other_inputs_is_refused(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "bart", "bart")
    info = replace(inspect_source(ModelSection(name="m", source=str(folder))), preprocessing=AudioInput("x", (4,), 4))
    with pytest.raises(SourceError, match="BartModel does not run on x alone: You must specify"):
        load_checkpoint(info)
