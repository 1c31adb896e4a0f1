from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from package_parts import SERVING, StubRuntime, make_image_preprocessing, make_info, make_text_source
from packc.errors import SourceError, SpecError
from packc.ingest.source import Preprocessing, TextPreprocessing
from packc.package.pipelines.choice import ChosenPipeline, build_models, choose_pipeline
from packc.package.pipelines.tensors import Ingredients
from packc.spec.model import Pipeline, Task

TEXT = TextPreprocessing(Path("tokenizer.json"), 128, 0, ("input_ids",))
IMAGE = make_image_preprocessing()


@pytest.mark.parametrize(
    ("wanted", "task", "preprocessing", "chosen"),
    [
        ("auto", "sentence-similarity", TEXT, "text"),
        ("auto", "feature-extraction", TEXT, "text"),
        ("auto", "text-classification", TEXT, "text"),
        ("auto", "image-classification", IMAGE, "image"),
        ("auto", "image-feature-extraction", IMAGE, "image"),
        ("auto", "token-classification", TEXT, "none"),
        ("auto", "question-answering", TEXT, "none"),
        ("auto", "text-classification", None, "none"),
        ("auto", "tensors", None, "none"),
        ("none", "sentence-similarity", TEXT, "none"),
        ("text", "text-classification", TEXT, "text"),
        ("image", "image-classification", IMAGE, "image"),
    ],
)
def test_choice(wanted: Pipeline, task: Task, preprocessing: Preprocessing | None, chosen: ChosenPipeline) -> None:
    assert choose_pipeline(wanted, make_info(task, preprocessing)) == chosen


@pytest.mark.parametrize(
    ("name", "wanted", "task", "preprocessing"),
    [
        ("token_level_task", "text", "token-classification", TEXT),
        ("no_tokenizer", "text", "text-classification", None),
        ("text_as_image", "image", "text-classification", TEXT),
    ],
)
def test_impossible_choice(name: str, wanted: Pipeline, task: Task, preprocessing: Preprocessing | None) -> None:
    with pytest.raises(SpecError) as caught:
        choose_pipeline(wanted, make_info(task, preprocessing))
    check_golden(f"package/errors/{name}.txt", caught.value.render() + "\n")


def test_pipelines_need_a_batch_axis(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    serving = replace(SERVING, max_batch_size=0)
    ingredients = Ingredients("tiny", source, {}, StubRuntime(), serving, (), cache=False)
    with pytest.raises(SourceError, match="no dynamic batch axis, which the text pipeline needs"):
        build_models("text", ingredients)
    (model,) = build_models("none", ingredients)
    assert [list(tensor.dims) for tensor in model.config.input] == [[-1, -1], [-1, -1]]
