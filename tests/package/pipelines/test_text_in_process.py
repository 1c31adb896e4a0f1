from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldens import check_golden
from package_parts import SERVING, VOCABULARY, StubRuntime, make_text_source, make_token_sample, run_graph
from packc.errors import SourceError
from packc.ingest.source import SourceModel, TextPreprocessing
from packc.package.lint import lint_repository
from packc.package.model_config import print_config
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.text_in_process import build_in_process_model
from packc.package.pipelines.triton_model import TritonModel, write_models
from packc.samples import Sample
from packc.tensors import TensorSpec
from python_backend import load_model, strings

LABELS = ("naïve", "plain")
TEXTS = ("Red café", "red green blue cat", "dog", "cat dog red red red")
WARMUP = [make_token_sample([2, 4, 3]), make_token_sample([2, 4, 5, 3]), make_token_sample([2, 7, 3])]


def build(
    source: SourceModel, pairs: bool = False, cache: bool = False, warmup: Sequence[Sample] = WARMUP, **serving: Any
) -> TritonModel:
    preprocessing = source.info.preprocessing
    assert isinstance(preprocessing, TextPreprocessing)
    plan = replace(SERVING, front="in_process", **serving)
    ingredients = Ingredients(
        "tiny", source, {"model.onnx": source.graph}, StubRuntime(), plan, warmup, cache, {"spinning": True}
    )
    return build_in_process_model(ingredients, replace(preprocessing, pairs=pairs))


def ask(folder: Path, model: TritonModel, *requests: Any) -> Any:
    write_models((model,), folder / "repository")
    assert lint_repository(folder / "repository") == []
    with load_model(folder / "repository/tiny/1/model.py", model.config) as call:
        return call(*({"text": texts} for texts in requests))


def expected(source: SourceModel, text: str) -> np.ndarray:
    words = [VOCABULARY.index(word) for word in text.lower().split()][:4]
    return run_graph(source, make_token_sample([2, *words, 3]))[source.answer]


def test_a_re_ranker_answers_with_a_score(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    ranking = replace(source, info=replace(source.info, task="text-ranking"))
    (answer,) = ask(tmp_path, build(ranking), strings("red cat"))
    assert answer.error is None
    np.testing.assert_allclose(answer["score"], expected(source, "red cat"), rtol=1e-5)


def test_config_and_source(tmp_path: Path) -> None:
    model = build(make_text_source(tmp_path))
    check_golden("package/text/in_process.pbtxt", print_config(model.config))
    check_golden("package/text/in_process.py", str(model.files["1/model.py"]))
    assert sorted(model.files) == [
        f"1/{name}" for name in ("batches.py", "engine.py", "model.onnx", "model.py", "tokenizer.json")
    ]
    assert build(make_text_source(tmp_path), cache=True).config.response_cache.enable


@pytest.mark.parametrize("lengths", ["pad", "sorted", "single"])
@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("budget", [8, 4096])
def test_an_answer_does_not_depend_on_who_else_asks(lengths: str, multiple: int, budget: int, tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    model = build(source, lengths=lengths, length_multiple=multiple, token_budget=budget)
    first, pair, broken, last = ask(
        tmp_path, model, strings(TEXTS[0]), strings(*TEXTS[1:3]), strings(b"\xff"), strings(TEXTS[3])
    )
    assert "not valid UTF-8" in broken.error
    answers = [*first["embedding"], *pair["embedding"], *last["embedding"]]
    for text, answer in zip(TEXTS, answers, strict=True):
        np.testing.assert_allclose(answer, expected(source, text)[0], atol=1e-6)


ENGINE = """
CALLS = []

def load(path, options, threads):
    return None

def run(session, feed):
    CALLS.append(next(iter(feed.values())).shape)
    return {"sentence_embedding": None}
"""


def warm_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call_s: float, lengths: Sequence[int], **serving: Any
) -> list[tuple[int, int]]:
    """The shapes of the calls that a model makes while it loads; each takes `call_s` seconds."""
    warmup = [make_token_sample([2] * length) for length in lengths]
    model = build(make_text_source(folder), warmup=warmup, **serving)
    write_models((model,), folder / "repository")
    (folder / "repository/tiny/1/engine.py").write_text(ENGINE)
    monkeypatch.setattr("time.monotonic", lambda: call_s * len(sys.modules["engine"].CALLS))
    with load_model(folder / "repository/tiny/1/model.py", model.config):
        return list(sys.modules["engine"].CALLS)


def test_every_shape_is_warmed_up_where_the_engine_prepares_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = warm_up(tmp_path, monkeypatch, 0.1, (3, 5, 6), length_multiple=4, max_batch_size=3)
    assert shapes == [(1, 6), (1, 4), (2, 6), (2, 4), (3, 6), (3, 4)], "of 8 tokens, as much as the model takes, first"


def test_warming_up_ends_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = warm_up(tmp_path, monkeypatch, 3.0, (3, 5, 6), length_multiple=4, max_batch_size=16, instances=2)
    assert few == [(1, 6), (1, 4), (2, 6), (2, 4)], "10 of the 20 seconds, as there are two instances"


def test_other_engines_are_warmed_up_alone_and_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = warm_up(tmp_path, monkeypatch, 0.1, (5, 3, 5), max_batch_size=8)
    assert shapes == [(1, 5), (1, 3), (8, 5), (8, 3)]


def test_padding_on_the_left_where_the_tokenizer_pads_there(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    source = make_text_source(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_padding(direction="left")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (answer,) = ask(tmp_path, build(source), strings(*TEXTS))
    for text, row in zip(TEXTS, answer["embedding"], strict=True):
        np.testing.assert_allclose(row, expected(source, text)[0], atol=1e-6)


def test_labels(tmp_path: Path) -> None:
    source = make_text_source(tmp_path, "text-classification", LABELS)
    (answer,) = ask(tmp_path, build(source), strings(*TEXTS))
    logits = np.concatenate([expected(source, text) for text in TEXTS])
    powers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [label.decode() for label in answer["label"][:, 0]] == [LABELS[i] for i in logits.argmax(axis=1)]
    np.testing.assert_allclose(answer["score"][:, 0], powers.max(axis=1), atol=1e-6)


def test_a_tab_separates_pairs(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    source = make_text_source(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (answer,) = ask(tmp_path, build(source, pairs=True), strings("red\tdog"))
    wanted = run_graph(source, make_token_sample([2, 4, 3, 8, 3]))[source.answer]
    np.testing.assert_allclose(answer["embedding"], wanted, atol=1e-6)


def test_text_without_tokens_is_refused_alone(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    source = make_text_source(tmp_path)
    bare = Tokenizer(models.WordLevel({"[PAD]": 0, "red": 4}, unk_token="[PAD]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.save(str(tmp_path / "tokenizer.json"))
    empty, red = ask(tmp_path, build(source), strings(""), strings("red"))
    assert empty.error == "text has no tokens"
    np.testing.assert_allclose(
        red["embedding"], run_graph(source, make_token_sample([4]))["sentence_embedding"], atol=1e-6
    )


def test_an_answer_for_each_token_is_refused(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    answer = TensorSpec("sentence_embedding", "float32", ("batch", "sequence", 8))
    with pytest.raises(SourceError, match="only the batch may vary"):
        build(replace(source, outputs=(answer,)))
