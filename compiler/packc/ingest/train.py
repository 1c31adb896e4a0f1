"""Trains a student on unlabelled samples to do as its teacher does. In the worker process only.

Its loss is what is left of the difference: of the answers (1 - cosine for vectors, Kullback-Leibler for logits) and of
the hidden states after each of its layers (squared, relative to the teacher's; as in MobileBERT and TinyBERT). Only
layers are trained; embeddings and head stay the teacher's. Seeds are fixed: the same texts and steps give the same
student on one machine, unless the time is over before the steps are, which depends on how busy the machine is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from packc.ingest.reference import TorchReference
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.ingest.student import Student, StudentPlan, Training, check_lessons
from packc.samples import Sample

BATCH = 16
LEARNING_RATE = 3e-4
WARMUP_SHARE = 0.1
HELD_OUT_SHARE = 0.1
MOST_HELD_OUT = 64
BUCKET = 8
"""Batches whose samples are sorted by length together, so that little is padded."""
MASKED = -1e4


def train_student(
    student: Student,
    teacher: TorchReference,
    info: SourceInfo,
    samples: Sequence[Sample],
    plan: StudentPlan,
    now_s: Callable[[], float] = time.monotonic,
) -> Training:
    """Trains `student` in place on `samples`, which have a batch axis of 1, within the limits of `plan`.

    At least one sample is held out, and the losses are of those alone. Raises DataError for fewer than two samples.
    """
    import torch

    check_lessons(len(samples), plan.data)
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(samples))
    count = max(1, min(MOST_HELD_OUT, int(HELD_OUT_SHARE * len(order))))
    held_out, taught = ([samples[i] for i in part] for part in (order[:count], order[count:]))
    start_s, steps = now_s(), 0
    with _Observer((*student.layers, *student.models)) as observer:

        def find_loss(samples: Sequence[Sample]) -> Any:
            return _find_loss(student, teacher, collate(samples, info), observer)

        def judge() -> float:
            chunks = [held_out[i : i + BATCH] for i in range(0, len(held_out), BATCH)]
            with torch.no_grad():
                return float(np.mean([float(find_loss(chunk)) for chunk in chunks]))

        before = judge()
        student.reference.module.requires_grad_(False)
        weights = [weight for layer in student.layers for weight in layer.requires_grad_(True).parameters()]
        optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _scale_rate(step, plan.steps))
        for batch in draw_batches(taught, generator):
            loss = find_loss(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            steps += 1
            if steps == plan.steps or now_s() - start_s > plan.max_seconds:
                break
        student.reference.module.requires_grad_(False)
        after = judge()
    seconds = now_s() - start_s
    return Training(plan.layers, plan.of_layers, steps, len(taught), before, after, seconds, plan.data, plan.steps)


def draw_batches(samples: Sequence[Sample], generator: np.random.Generator) -> Iterator[list[Sample]]:
    """Batches without end, drawn anew each time through, samples of like length together."""
    while True:
        order = generator.permutation(len(samples))
        for start in range(0, len(order), BATCH * BUCKET):
            bucket = sorted(order[start : start + BATCH * BUCKET], key=lambda i: _length(samples[i]))
            batches = [bucket[i : i + BATCH] for i in range(0, len(bucket), BATCH)]
            for place in generator.permutation(len(batches)):
                yield [samples[i] for i in batches[place]]


def collate(samples: Sequence[Sample], info: SourceInfo) -> dict[str, Any]:
    """One batch of token tensors, padded to the longest of `samples`."""
    import torch

    assert isinstance(info.preprocessing, TextPreprocessing)
    longest = max(map(_length, samples))
    padding = {"input_ids": info.preprocessing.pad_id}
    return {
        name: torch.from_numpy(
            np.concatenate(
                [
                    np.pad(s[name], ((0, 0), (0, longest - _length(s))), constant_values=padding.get(name, 0))
                    for s in samples
                ]
            ).astype(np.int64)
        )
        for name in samples[0]
    }


def _length(sample: Sample) -> int:
    return int(next(iter(sample.values())).shape[1])


def _scale_rate(step: int, steps: int) -> float:
    """Up in a line, then down in a line to a tenth."""
    warmup = max(1.0, WARMUP_SHARE * steps)
    return min((step + 1) / warmup, 0.1 + 0.9 * (steps - step) / steps)


class _Observer:
    """Keeps what the observed layers gave last."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.outputs: dict[int, Any] = {}
        self._handles = [layer.register_forward_hook(self._keep) for layer in layers]

    def _keep(self, layer: Any, inputs: object, output: Any) -> None:
        self.outputs[id(layer)] = output[0] if isinstance(output, tuple) else output

    def __enter__(self) -> _Observer:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _find_loss(student: Student, teacher: TorchReference, batch: dict[str, Any], observer: _Observer) -> Any:
    """The scalar loss of one batch, as the module's docstring has it."""
    import torch

    tensors = [batch[name] for name in teacher.inputs]
    mask = batch.get("attention_mask", torch.ones_like(tensors[0])).bool()
    with torch.no_grad():
        wanted = teacher.module(*tensors)
    answers = student.reference.module(*tensors)
    of_answers = [
        _compare(answer, want, mask, are_logits=name.endswith("logits"))
        for name, answer, want in zip(teacher.outputs, answers, wanted, strict=True)
    ]
    of_states = []
    for own, model in zip(student.layers, student.models, strict=True):
        target = observer.outputs[id(model)][mask]
        of_states.append((observer.outputs[id(own)][mask] - target).square().sum() / target.square().sum())
    return torch.stack(of_answers).mean() + torch.stack(of_states).mean()


def _compare(answer: Any, wanted: Any, mask: Any, *, are_logits: bool) -> Any:
    """Mean loss over the vectors or distributions of a batch, those of padding left out."""
    import torch

    if answer.dim() == 3 and answer.shape[1] == mask.shape[1]:
        answer, wanted = answer[mask], wanted[mask]
    elif are_logits and answer.shape == mask.shape:  # one distribution over the tokens
        answer, wanted = (part.masked_fill(~mask, MASKED) for part in (answer, wanted))
    if not are_logits:
        return 1 - torch.nn.functional.cosine_similarity(answer, wanted, dim=-1).mean()
    if answer.shape[-1] == 1:  # one score
        return torch.nn.functional.mse_loss(answer, wanted)
    logs = [torch.log_softmax(part, -1).flatten(0, -2) for part in (answer, wanted)]
    return torch.nn.functional.kl_div(*logs, log_target=True, reduction="batchmean")
