"""Which task a checkpoint answers: the head named in its config decides, and no other head is ever put on it."""

from __future__ import annotations

from typing import Literal

from packc.errors import SourceError
from packc.spec.model import Task

Modality = Literal["text", "image"]

HEAD_TASKS: tuple[tuple[str, Task, Modality], ...] = (
    ("ForSequenceClassification", "text-classification", "text"),
    ("ForTokenClassification", "token-classification", "text"),
    ("ForQuestionAnswering", "question-answering", "text"),
    ("ForMaskedLM", "fill-mask", "text"),
    ("ForImageClassification", "image-classification", "image"),
)
"""Suffix of the architecture's class name, the task of its head, what it reads."""

ENCODER_SUFFIXES = ("Model", "Encoder", "ForPreTraining")
"""Classes without a head of their own: what they compute is the hidden states."""

DECODER_SUFFIX = "LMHeadModel"
"""The older name of *ForCausalLM: no encoder, for all that it ends like one."""

ENCODER_TASKS: dict[Modality, tuple[Task, ...]] = {
    "text": ("feature-extraction", "sentence-similarity"),
    "image": ("image-feature-extraction",),
}
"""Tasks that need the encoder alone; the first one is the default."""


def choose_task(architecture: str, modality: Modality, wanted: Task | None, *, is_sentence_encoder: bool) -> Task:
    """The task of a checkpoint whose config names `architecture`; `wanted` is what the spec asks for.

    A checkpoint answers the task of its head, and those of its encoder. Raises SourceError for an unknown architecture
    and for a task whose head has no weights in the checkpoint.
    """
    head = next(((task, kind) for suffix, task, kind in HEAD_TASKS if architecture.endswith(suffix)), None)
    is_encoder = architecture.endswith(ENCODER_SUFFIXES) and not architecture.endswith(DECODER_SUFFIX)
    if head is None and not is_encoder:
        raise SourceError(
            f"cannot compile the architecture {architecture!r}: its task is not one that pack knows",
            hint="pack compiles encoders (*Model) and "
            + ", ".join(f"*{suffix}" for suffix, _, _ in HEAD_TASKS)
            + "; anything else can be given as an .onnx file or as 'package.module:factory'",
        )
    available: tuple[Task, ...] = ENCODER_TASKS[head[1] if head else modality]
    if is_sentence_encoder:
        available = ("sentence-similarity", "feature-extraction")
    elif head:
        available = (head[0], *available)
    if wanted is None:
        return available[0]
    if wanted not in available:
        raise SourceError(
            f"the checkpoint has no weights for the task {wanted!r}: its architecture is {architecture!r}",
            hint=f"it answers {_list_words(available)}; for {wanted!r} give a checkpoint that was trained for it",
        )
    return wanted


def head_class(task: Task) -> str:
    """Name of the transformers auto class that loads a checkpoint for `task`."""
    for suffix, head_task, _ in HEAD_TASKS:
        if head_task == task:
            return f"AutoModel{suffix}"
    return "AutoModel"


def _list_words(words: tuple[str, ...]) -> str:
    quoted = [repr(word) for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
