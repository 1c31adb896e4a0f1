from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goldens import check_golden
from package_parts import SERVING, StubRuntime, make_text_source
from packc.ingest.source import TextPreprocessing
from packc.package.model_config import print_config
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.text import build_text_models
from packc.package.pipelines.triton_model import TritonModel, write_models
from python_backend import load_model, strings


def build(folder: Path, pairs: bool = False, **options: object) -> tuple[TritonModel, ...]:
    source = make_text_source(folder)
    preprocessing = source.info.preprocessing
    assert isinstance(preprocessing, TextPreprocessing)
    preprocessing = replace(preprocessing, pairs=pairs)
    ingredients = Ingredients(
        "tiny", source, {"model.onnx": source.graph}, StubRuntime(), SERVING, warmup=(), cache=bool(options)
    )
    return build_text_models(ingredients, preprocessing)


def test_configs(tmp_path: Path) -> None:
    models = build(tmp_path)
    assert [model.name for model in models] == ["tiny", "tiny-tokenizer", "tiny-model"]
    for model in models:
        check_golden(f"package/text/{model.name}.pbtxt", print_config(model.config))


def test_cache_is_asked_for_once_by_the_model_that_clients_call(tmp_path: Path) -> None:
    ensemble, *members = build(tmp_path, cache=True)
    assert ensemble.config.response_cache.enable
    assert not any(member.config.response_cache.enable for member in members)


def test_tokenizer_source(tmp_path: Path) -> None:
    check_golden("package/text/tokenizer.py", str(build(tmp_path)[1].files["1/model.py"]))


def test_tokenizer_answers(tmp_path: Path) -> None:
    write_models(build(tmp_path / "source"), tmp_path / "repository")
    with load_model(tmp_path / "repository/tiny-tokenizer/1/model.py") as call:
        one, batch, long, empty, broken = call(
            {"text": strings("Red café")},
            {"text": strings("red", "green blue cat")},
            {"text": strings("red " * 9)},
            {"text": strings("")},
            {"text": strings(b"\xff")},
        )
    assert one["input_ids"].tolist() == [[2, 4, 9, 3]]  # its own length, not a neighbour's nor the file's 128
    assert one["input_ids"].dtype == np.int64
    assert batch["input_ids"].tolist() == [[2, 4, 3, 0, 0], [2, 5, 6, 7, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert set(batch) == {"input_ids", "attention_mask"}
    assert long["input_ids"].tolist() == [[2, 4, 4, 4, 4, 3]]  # truncated to max_length 6
    assert empty["input_ids"].tolist() == [[2, 3]]
    assert broken.error is not None
    assert "not valid UTF-8" in broken.error


@pytest.mark.parametrize(
    ("pairs", "rows"),
    [(True, [[2, 4, 3, 8, 3], [2, 7, 3, 0, 0]]), (False, [[2, 4, 8, 3], [2, 7, 3, 0]])],
)
def test_a_tab_separates_pairs_only_where_samples_are_pairs(pairs: bool, rows: object, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    models = build(tmp_path / "source", pairs)
    tokenizer = Tokenizer.from_file(str(tmp_path / "source/tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "source/tokenizer.json"))
    write_models(models, tmp_path / "repository")
    with load_model(tmp_path / "repository/tiny-tokenizer/1/model.py") as call:
        (answer,) = call({"text": strings("red\tdog", "cat")})
    assert answer["input_ids"].tolist() == rows


def test_text_without_tokens_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    built = build(tmp_path / "source")
    bare = Tokenizer(models.WordLevel({"[PAD]": 0, "red": 1}, unk_token="[PAD]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.save(str(tmp_path / "source/tokenizer.json"))
    write_models(built, tmp_path / "repository")
    with load_model(tmp_path / "repository/tiny-tokenizer/1/model.py") as call:
        (answer,) = call({"text": strings("")})
    assert answer.error == "text has no tokens"
