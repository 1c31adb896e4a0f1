from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from packc.errors import DataError
from packc.quality.metrics import check_samples, default_metric, score_answers
from packc.samples import save_samples
from packc.spec.model import MetricName, Task


def write(path: Path, answers: list[object], name: str = "y") -> Path:
    save_samples(path, [{name: np.asarray(answer, np.float32)} for answer in answers])
    return path


@pytest.fixture
def embeddings(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 1, 8))
    return write(tmp_path / "a", list(vectors)), write(
        tmp_path / "b", list(vectors + 0.1 * rng.normal(size=(40, 1, 8)))
    )


@pytest.mark.parametrize("metric", get_args(MetricName))
def test_a_model_agrees_with_itself(metric: MetricName, embeddings: tuple[Path, Path]) -> None:
    labels = ["0"] * 40
    score = score_answers(metric, embeddings[0], embeddings[0], "y", labels)
    assert score.metric == metric
    assert score.value == pytest.approx(score.reference, abs=1e-9)
    assert score.low <= score.value <= score.high
    assert score.samples == 40


@pytest.mark.parametrize("metric", sorted(set(get_args(MetricName)) - {"accuracy"}))
def test_a_blurred_model_scores_worse(metric: MetricName, embeddings: tuple[Path, Path]) -> None:
    score = score_answers(metric, *embeddings, "y")
    assert score.worst_drop > 0
    assert abs(score.value - score.reference) > 1e-4
    assert score.low <= score.value <= score.high


def test_every_task_has_a_metric() -> None:
    assert all(default_metric(task) in get_args(MetricName) for task in get_args(Task))


def test_cosine_is_the_mean_over_samples_of_any_length(tmp_path: Path) -> None:
    ours = write(tmp_path / "a", [[[1, 0]], [[[1, 1], [1, 1], [0, 0]]], [[0, 0]]])
    theirs = write(tmp_path / "b", [[[0, 1]], [[[2, 2], [2, 2], [0, 0]]], [[0, 0]]])
    assert score_answers("cosine", ours, theirs, "y").value == pytest.approx(2 / 3)


def test_errors_are_absolute(tmp_path: Path) -> None:
    ours = write(tmp_path / "a", [[[0, 0]], [[10, 10, 10, 10]]])
    theirs = write(tmp_path / "b", [[[1, 0]], [[10, 10, 10, 12]]])
    assert score_answers("max_error", ours, theirs, "y").value == 2.0
    mean = score_answers("mean_error", ours, theirs, "y")
    assert mean.value == 0.5
    assert mean.worst_drop == mean.high >= 0.5


def test_top1_counts_decisions_of_tokens_within_their_sample(tmp_path: Path) -> None:
    ours = write(tmp_path / "a", [[[[0, 1], [0, 1], [0, 1], [0, 1]]], [[[0, 1]]]])
    theirs = write(tmp_path / "b", [[[[0, 1], [0, 1], [1, 0], [1, 0]]], [[[0, 1]]]])
    score = score_answers("top1_agreement", ours, theirs, "y")
    assert score.value == 0.75
    assert score.samples == 2


def test_top1_of_a_span_needs_both_ends(tmp_path: Path) -> None:
    save_samples(tmp_path / "a", [{"start_logits": np.array([[0, 1.0]]), "end_logits": np.array([[0, 1.0]])}])
    save_samples(tmp_path / "b", [{"start_logits": np.array([[0, 1.0]]), "end_logits": np.array([[1, 0.0]])}])
    assert score_answers("top1_agreement", tmp_path / "a", tmp_path / "b", "start_logits").value == 0.5


def test_full_agreement_on_few_samples_is_not_certainty(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [[[0, 1]]] * 50)
    score = score_answers("top1_agreement", path, path, "y")
    assert score.value == score.high == 1.0
    assert score.low == pytest.approx(0.9287, abs=1e-4)


def test_accuracy_against_names_and_indices(tmp_path: Path) -> None:
    ours = write(tmp_path / "a", [[[3, 1]], [[1, 3]], [[3, 1]], [[1, 3]]])
    theirs = write(tmp_path / "b", [[[3, 1]], [[1, 3]], [[1, 3]], [[1, 3]]])
    score = score_answers("accuracy", ours, theirs, "y", ["cat", "dog", "0", "cat"], ["cat", "dog"])
    assert (score.value, score.reference) == (0.5, 0.75)
    assert score.worst_drop > 0.25


def test_class_names_that_are_numbers_come_before_indices(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [[[9, 0, 0]]])
    assert score_answers("accuracy", path, path, "y", ["2"], ["2", "1", "0"]).value == 1.0


@pytest.mark.parametrize(
    ("labels", "names", "text"),
    [
        (
            ["0"],
            [],
            "error: accuracy needs a true label for each of the 2 samples, there are 1\n\n"
            'hint: add "label" to the samples, or choose metric = "top1_agreement"',
        ),
        (
            ["cat", "bird"],
            ["cat", "dog"],
            "error: sample 1 has the label 'bird', which is no class of the model"
            "\n\nhint: use an index or one of: cat, dog",
        ),
        (
            ["0", "-1"],
            [],
            "error: sample 1 has the label '-1', which is no class of the model\n\nhint: use class indices",
        ),
        (
            ["0", "2"],
            ["cat", "dog"],
            "error: sample 1 has the label '2', which is no class of the model"
            "\n\nhint: use an index or one of: cat, dog",
        ),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: list[str], names: list[str], text: str) -> None:
    path = write(tmp_path / "a", [[[1, 2]], [[2, 1]]])
    with pytest.raises(DataError) as error:
        score_answers("accuracy", path, path, "y", labels, names)
    assert error.value.render() == text


@pytest.mark.parametrize(
    ("metric", "task", "samples", "labels", "message"),
    [
        ("neighbour_agreement", "sentence-similarity", 11, 0, "needs at least 12 evaluation samples, there are 11"),
        ("spearman", "feature-extraction", 1, 0, "needs at least 12 evaluation samples, there are 1"),
        ("top1_agreement", "object-detection", 20, 0, "compares classes along the last axis"),
        ("accuracy", "text-classification", 20, 0, "a true label for each of the 20 samples, there are 0"),
        ("accuracy", "sentence-similarity", 20, 20, "needs a classifier with one class a sample"),
    ],
)
def test_what_cannot_be_judged_is_known_beforehand(
    metric: MetricName, task: Task, samples: int, labels: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_samples(metric, task, samples, labels)


def test_what_can_be_judged() -> None:
    check_samples("neighbour_agreement", "sentence-similarity", 12, 0)
    check_samples("accuracy", "image-classification", 3, 3)
    check_samples("cosine", "tensors", 1, 0)


def test_one_number_is_no_choice(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [[[0.3]], [[-0.2]]])
    with pytest.raises(DataError, match=r"the output has shape \[1, 1\]: there is no class to choose"):
        score_answers("top1_agreement", path, path, "y")


def test_accuracy_of_tokens_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [[[[1, 2], [2, 1]]]])
    with pytest.raises(DataError, match="accuracy needs one decision a sample, the output gives 2"):
        score_answers("accuracy", path, path, "y", ["0"])


def test_token_answers_of_different_lengths_compare_by_their_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write(tmp_path / "a", [rng.normal(size=(1, 3 + i % 4, 8)) for i in range(20)])
    assert score_answers("neighbour_agreement", path, path, "y").value == 1.0


def test_maps_of_different_sizes_have_no_neighbours(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [np.ones((1, 4 + i % 2)) for i in range(20)])
    with pytest.raises(DataError, match=r"the output differs in size between samples \(4 to 5 numbers\)"):
        score_answers("spearman", path, path, "y")
