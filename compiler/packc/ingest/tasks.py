"""Which task a checkpoint answers: the head named in its config decides, and no other head is ever put on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packc.errors import SourceError
from packc.spec.model import Task

Modality = Literal["text", "image", "audio"]


@dataclass(frozen=True, slots=True)
class Head:
    """What sits on an encoder: the end of the architecture's class name, what it reads, what it answers."""

    suffix: str
    modality: Modality
    task: Task
    outputs: tuple[str, ...] = ("logits",)
    """Fields of the class's result that become outputs; quality is judged on the first and its partners."""


HEADS = (
    Head("ForSequenceClassification", "text", "text-classification"),
    Head("ForTokenClassification", "text", "token-classification"),
    Head("ForQuestionAnswering", "text", "question-answering", ("start_logits", "end_logits")),
    Head("ForMaskedLM", "text", "fill-mask"),
    Head("ForImageClassification", "image", "image-classification"),
    Head("ForObjectDetection", "image", "object-detection", ("logits", "pred_boxes")),
    Head("ForSemanticSegmentation", "image", "image-segmentation"),
    Head("ForUniversalSegmentation", "image", "image-segmentation", ("class_queries_logits", "masks_queries_logits")),
    Head("ForInstanceSegmentation", "image", "image-segmentation", ("class_queries_logits", "masks_queries_logits")),
    Head("ForDepthEstimation", "image", "depth-estimation", ("predicted_depth",)),
    Head("ForSequenceClassification", "audio", "audio-classification"),
    Head("ForAudioClassification", "audio", "audio-classification"),
    Head("ForCTC", "audio", "automatic-speech-recognition"),
)

ENCODER_SUFFIXES = ("Model", "Encoder", "ForPreTraining", "ForConditionalGeneration")
"""Classes without a head of their own: what they compute is the hidden states. Of the last one, which is for
sequence-to-sequence models only, the encoder is compiled."""

DECODER_SUFFIX = "LMHeadModel"
"""The older name of *ForCausalLM: no encoder, for all that it ends like one."""

ENCODER_TASKS: dict[Modality, tuple[Task, ...]] = {
    "text": ("feature-extraction", "sentence-similarity"),
    "image": ("image-feature-extraction",),
    "audio": ("audio-feature-extraction",),
}
"""Tasks that need the encoder alone; the first one is the default."""


def find_head(architecture: str, modality: Modality | None = None) -> Head | None:
    """The head that the class called `architecture` has; None for a plain encoder and for what is not known."""
    for head in HEADS:
        if architecture.endswith(head.suffix) and modality in (None, head.modality):
            return head
    return None


def choose_task(
    architecture: str, modality: Modality, wanted: Task | None, *, is_sentence_encoder: bool, labels: int = 0
) -> Task:
    """The task of a checkpoint whose config names `architecture`; `wanted` is what the spec asks for.

    A checkpoint answers the task of its head, and those of its encoder. A text classifier of one label (`labels`, as
    the config counts them) is a re-ranker: its logit is a score. Raises SourceError for an unknown architecture and for
    a task whose head has no weights in the checkpoint.
    """
    head = find_head(architecture, modality)
    is_encoder = architecture.endswith(ENCODER_SUFFIXES) and not architecture.endswith(DECODER_SUFFIX)
    if head is None and not is_encoder:
        raise SourceError(
            f"cannot compile the architecture {architecture!r}: its task is not one that pack knows",
            hint="pack compiles encoders (*Model) and "
            + ", ".join(f"*{suffix}" for suffix in dict.fromkeys(head.suffix for head in HEADS))
            + "; anything else can be given as an .onnx file or as 'package.module:factory'",
        )
    available: tuple[Task, ...] = ENCODER_TASKS[modality]
    if is_sentence_encoder:
        available = ("sentence-similarity", "feature-extraction")
    elif head and head.task == "text-classification" and labels == 1:
        available = ("text-ranking", *available)
    elif head:
        available = (head.task, *available)
    if wanted is None:
        return available[0]
    if wanted not in available:
        raise SourceError(
            f"the checkpoint has no weights for the task {wanted!r}: its architecture is {architecture!r}",
            hint=f"it answers {_list_words(available)}; for {wanted!r} give a checkpoint that was trained for it",
        )
    return wanted


def _list_words(words: tuple[str, ...]) -> str:
    quoted = [repr(word) for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
