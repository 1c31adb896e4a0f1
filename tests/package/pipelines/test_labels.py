from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from goldens import check_golden
from package_parts import SERVING, StubRuntime, make_text_source
from packc.package.pipelines.labels import answer_tensor, build_labels_model, class_names
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.triton_model import TritonModel, write_models
from python_backend import Answered, load_model

LABELS = ("naïve", "plain", "line\nbreak")


def build(folder: Path, labels: tuple[str, ...] = LABELS) -> TritonModel:
    source = make_text_source(folder, "text-classification", labels)
    ingredients = Ingredients("tiny", source, {}, StubRuntime(), SERVING, warmup=(), cache=False)
    return build_labels_model(ingredients, "tiny-labels")


def ask(folder: Path, labels: tuple[str, ...], logits: np.ndarray) -> Answered:
    write_models((build(folder / "source", labels),), folder / "repository")
    with load_model(folder / "repository/tiny-labels/1/model.py") as call:
        (answer,) = call({"logits": logits})
    return answer


def test_source(tmp_path: Path) -> None:
    check_golden("package/labels.py", str(build(tmp_path).files["1/model.py"]))


def test_label_and_probability(tmp_path: Path) -> None:
    answer = ask(tmp_path, LABELS, np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=np.float32)))
    assert answer["label"].tolist() == [["naïve".encode()], [b"line\nbreak"]]
    np.testing.assert_allclose(answer["score"], [[0.7], [0.6]], rtol=1e-6)
    assert answer["score"].dtype == np.float32


def test_large_logits_do_not_overflow(tmp_path: Path) -> None:
    answer = ask(tmp_path, LABELS, np.array([[1000.0, 999.0, 0.0]], dtype=np.float16))
    np.testing.assert_allclose(answer["score"], [[1 / (1 + np.exp(-1))]], rtol=1e-3)


def test_one_logit_is_a_probability(tmp_path: Path) -> None:
    answer = ask(tmp_path, ("similar",), np.array([[0.0], [2.0]], dtype=np.float32))
    assert answer["label"].tolist() == [[b"similar"], [b"similar"]]
    np.testing.assert_allclose(answer["score"], [[0.5], [1 / (1 + np.exp(-2))]], rtol=1e-6)


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    source = make_text_source(tmp_path, "text-classification", LABELS)
    assert class_names(source) == list(LABELS)
    assert class_names(replace(source, info=replace(source.info, labels=()))) == ["0", "1", "2"]
    assert answer_tensor(source).name == "logits"
