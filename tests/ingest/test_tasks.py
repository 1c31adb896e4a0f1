from __future__ import annotations

import pytest

from packc.errors import SourceError
from packc.ingest.tasks import Modality, choose_task, find_head
from packc.spec.model import Task


@pytest.mark.parametrize(
    ("architecture", "modality", "task"),
    [
        ("BertModel", "text", "feature-extraction"),
        ("T5EncoderModel", "text", "feature-extraction"),
        ("BertForPreTraining", "text", "feature-extraction"),
        ("RobertaForSequenceClassification", "text", "text-classification"),
        ("BertForTokenClassification", "text", "token-classification"),
        ("BertForQuestionAnswering", "text", "question-answering"),
        ("BertForMaskedLM", "text", "fill-mask"),
        ("ViTForImageClassification", "image", "image-classification"),
        ("ViTModel", "image", "image-feature-extraction"),
        ("DetrForObjectDetection", "image", "object-detection"),
        ("SegformerForSemanticSegmentation", "image", "image-segmentation"),
        ("T5ForConditionalGeneration", "text", "feature-extraction"),
        ("Wav2Vec2Model", "audio", "audio-feature-extraction"),
        ("Wav2Vec2ForCTC", "audio", "automatic-speech-recognition"),
    ],
)
def test_task_of_the_head(architecture: str, modality: Modality, task: Task) -> None:
    assert choose_task(architecture, modality, None, is_sentence_encoder=False) == task


def test_a_checkpoint_with_a_head_also_has_an_encoder() -> None:
    chosen = choose_task("BertForMaskedLM", "text", "sentence-similarity", is_sentence_encoder=False)
    assert chosen == "sentence-similarity"


@pytest.mark.parametrize("wanted", ["text-classification", "image-classification", "tensors"])
def test_no_other_head_is_put_on(wanted: Task) -> None:
    with pytest.raises(SourceError, match="no weights for the task"):
        choose_task("BertForMaskedLM", "text", wanted, is_sentence_encoder=False)


@pytest.mark.parametrize("architecture", ["GPT2LMHeadModel", "LlamaForCausalLM", "BertForFooBar"])
def test_unknown_architectures(architecture: str) -> None:
    with pytest.raises(SourceError, match=f"cannot compile the architecture '{architecture}'"):
        choose_task(architecture, "text", None, is_sentence_encoder=False)


def test_one_label_makes_a_classifier_a_reranker() -> None:
    name = "BertForSequenceClassification"
    assert choose_task(name, "text", None, is_sentence_encoder=False, labels=1) == "text-ranking"
    assert choose_task(name, "text", None, is_sentence_encoder=False, labels=3) == "text-classification"


def test_the_modality_tells_heads_of_one_name_apart() -> None:
    heads = [find_head("Wav2Vec2ForSequenceClassification", modality) for modality in ("text", "audio")]
    assert [head.task for head in heads if head] == ["text-classification", "audio-classification"]
    assert find_head("BertModel") is None
