"""Every quality metric: samples files of answers -> QualityScore. The reference is the source model's own answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from packc.errors import DataError, Diagnostic
from packc.quality.answers import Pair, read_pairs
from packc.quality.bootstrap import Interval, max_interval, mean_interval, paired_drop_interval, wilson_interval
from packc.quality.score import QualityScore
from packc.quality.similarity import check_count, score_neighbours, score_spearman
from packc.spec.model import MetricName, Task

Values = npt.NDArray[np.float64]

DEFAULT_METRICS: dict[Task, MetricName] = {
    "sentence-similarity": "neighbour_agreement",
    "feature-extraction": "cosine",
    "text-classification": "top1_agreement",
    "text-ranking": "spearman",
    "token-classification": "top1_agreement",
    "question-answering": "top1_agreement",
    "fill-mask": "top1_agreement",
    "image-classification": "top1_agreement",
    "image-feature-extraction": "cosine",
    "object-detection": "cosine",
    "image-segmentation": "cosine",
    "depth-estimation": "cosine",
    "audio-classification": "top1_agreement",
    "audio-feature-extraction": "cosine",
    "automatic-speech-recognition": "top1_agreement",
    "tensors": "cosine",
}


ACCURACY_TASKS: tuple[Task, ...] = ("text-classification", "image-classification", "audio-classification", "tensors")
"""Tasks whose answer can be one class a sample."""

MAP_TASKS: tuple[Task, ...] = ("object-detection", "image-segmentation", "depth-estimation")
"""Tasks whose answers are boxes, masks or maps as well as classes: their last axis is no choice among classes."""


def default_metric(task: Task) -> MetricName:
    """The metric that judges `task` when the spec names none."""
    return DEFAULT_METRICS[task]


def check_samples(metric: MetricName, task: Task, samples: int, labels: int) -> None:
    """Raises DataError when `metric` cannot judge so many evaluation samples and labels: before anything is built."""
    if metric in ("neighbour_agreement", "spearman"):
        check_count(metric, samples)
    if metric == "top1_agreement" and task in MAP_TASKS:
        message = f"top1_agreement compares classes along the last axis, which the answers of {task} do not have there"
        raise DataError(Diagnostic(message, hint=f'choose metric = "{default_metric(task)}"'))
    if metric == "accuracy":
        if task not in ACCURACY_TASKS:
            message = f"accuracy needs a classifier with one class a sample, the model's task is {task}"
            hint = f'choose metric = "{default_metric(task)}"'
            raise DataError(Diagnostic(message, hint=hint))
        _check_labels(samples, labels)


def score_answers(
    metric: MetricName,
    reference: Path,
    candidate: Path,
    output: str,
    labels: Sequence[str] = (),
    class_names: Sequence[str] = (),
) -> QualityScore:
    """Scores the answers in the samples file `candidate` against those in `reference`, at output `output`.

    - cosine: mean over samples of the cosine between the two answers, each flattened whole.
    - spearman, neighbour_agreement: see packc.quality.similarity; answers [1, tokens, width] are averaged over tokens.
    - top1_agreement: share of argmax decisions (last axis) that agree, averaged over samples: one decision a sample
      for classifiers, one a token for token classifiers, start and end for question answering.
    - accuracy: share of samples whose argmax is the true label; `labels` are class names or indices, one a sample.
    - max_error, mean_error: absolute differences, not scaled: the largest anywhere; the mean over elements, then
      samples.

    Intervals are 95 %: Wilson over samples for shares of right answers, bootstrap over samples otherwise.
    Raises PackError when the candidate's answers cannot be compared (missing, misshapen, not finite) and DataError
    when the samples are too few or the labels do not fit.
    """
    samples = read_pairs(reference, candidate, output)
    match metric:
        case "neighbour_agreement":
            return score_neighbours(*_collect_vectors(samples))
        case "spearman":
            return score_spearman(*_collect_vectors(samples))
        case "cosine":
            cosines = np.array([np.mean([_cosine(*pair) for pair in sample]) for sample in samples])
            return _agreement(metric, cosines, mean_interval(cosines))
        case "top1_agreement":
            shares = np.array([_agreeing_share(sample) for sample in samples])
            return _agreement(metric, shares, wilson_interval(float(shares.mean()), len(shares)))
        case "accuracy":
            return _score_accuracy(list(samples), labels, class_names)
        case "max_error":
            errors = np.array([max(np.abs(a - b).max() for a, b in sample) for sample in samples])
            return _error(metric, float(errors.max()), max_interval(errors), len(errors))
        case "mean_error":
            errors = np.array([np.mean([np.abs(a - b).mean() for a, b in sample]) for sample in samples])
            return _error(metric, float(errors.mean()), mean_interval(errors), len(errors))


def _agreement(metric: str, shares: Values, interval: Interval) -> QualityScore:
    low, high = interval
    return QualityScore(metric, float(shares.mean()), low, high, len(shares), reference=1.0, worst_drop=1.0 - low)


def _error(metric: str, value: float, interval: Interval, samples: int) -> QualityScore:
    low, high = interval
    return QualityScore(metric, value, low, high, samples, reference=0.0, worst_drop=high)


def _score_accuracy(
    samples: Sequence[tuple[Pair, ...]], labels: Sequence[str], class_names: Sequence[str]
) -> QualityScore:
    _check_labels(len(samples), len(labels))
    truth = np.array([_label_index(label, i, class_names) for i, label in enumerate(labels)])
    before = np.array([_single_decision(sample[0][0]) for sample in samples]) == truth
    after = np.array([_single_decision(sample[0][1]) for sample in samples]) == truth
    share = float(after.mean())
    low, high = wilson_interval(share, len(after))
    _, worst_drop = paired_drop_interval(before, after)
    return QualityScore("accuracy", share, low, high, len(after), float(before.mean()), worst_drop)


def _check_labels(samples: int, labels: int) -> None:
    if labels != samples:
        message = f"accuracy needs a true label for each of the {samples} samples, there are {labels}"
        raise DataError(Diagnostic(message, hint='add "label" to the samples, or choose metric = "top1_agreement"'))


def _label_index(label: str, sample: int, class_names: Sequence[str]) -> int:
    if label in class_names:
        return class_names.index(label)
    if label.isdecimal() and (not class_names or int(label) < len(class_names)):
        return int(label)
    known = ", ".join(class_names[:10]) + (", ..." if len(class_names) > 10 else "")
    message = f"sample {sample} has the label {label!r}, which is no class of the model"
    raise DataError(Diagnostic(message, hint=f"use an index or one of: {known}" if known else "use class indices"))


def _single_decision(answer: Values) -> int:
    decisions = _decisions(answer)
    if decisions.size != 1:
        message = f"accuracy needs one decision a sample, the output gives {decisions.size}"
        raise DataError(Diagnostic(message, hint='choose metric = "top1_agreement"'))
    return int(decisions.ravel()[0])


def _agreeing_share(sample: tuple[Pair, ...]) -> float:
    return float(np.mean([(_decisions(expected) == _decisions(answer)).mean() for expected, answer in sample]))


def _decisions(answer: Values) -> npt.NDArray[np.intp]:
    if answer.shape[-1] < 2:
        message = f"the output has shape {list(answer.shape)}: there is no class to choose"
        raise DataError(Diagnostic(message, hint='choose metric = "mean_error" or "cosine"'))
    return np.asarray(answer.argmax(axis=-1))


def _cosine(expected: Values, answer: Values) -> float:
    """Cosine of two answers flattened; 1 when both are all zeros, 0 when one is."""
    norms = float(np.linalg.norm(expected)), float(np.linalg.norm(answer))
    if 0.0 in norms:
        return float(norms[0] == norms[1])
    return float(np.clip(np.vdot(expected, answer) / (norms[0] * norms[1]), -1, 1))


def _collect_vectors(samples: Iterable[tuple[Pair, ...]]) -> tuple[Values, Values]:
    """The first output's answers as two matrices [n, width], tokens averaged."""
    vectors = [(_vector(sample[0][0]), _vector(sample[0][1])) for sample in samples]
    widths = {len(expected) for expected, _ in vectors}
    if len(widths) > 1:
        message = f"the output differs in size between samples ({min(widths)} to {max(widths)} numbers)"
        raise DataError(Diagnostic(message, hint='choose metric = "cosine"'))
    return np.stack([expected for expected, _ in vectors]), np.stack([answer for _, answer in vectors])


def _vector(answer: Values) -> Values:
    return answer.mean(axis=1).ravel() if answer.ndim == 3 else answer.ravel()
