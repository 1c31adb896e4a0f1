from __future__ import annotations

from pathlib import Path

import pytest

from package_parts import SERVING, StubRuntime, make_text_source
from packc.package.model_config import new_config
from packc.package.pipelines.ensemble import assemble_ensemble
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.text_in_process import TEXT
from packc.package.pipelines.triton_model import TritonModel
from packc.spec.model import Task


@pytest.mark.parametrize(
    ("task", "labels", "members", "outputs"),
    [
        ("sentence-similarity", (), ["tiny-first", "tiny-model"], ["embedding"]),
        ("text-classification", ("a", "b"), ["tiny-first", "tiny-model", "tiny-labels"], ["label", "score"]),
    ],
)
def test_steps(tmp_path: Path, task: Task, labels: tuple[str, ...], members: list[str], outputs: list[str]) -> None:
    source = make_text_source(tmp_path, task, labels)
    ingredients = Ingredients("tiny", source, {}, StubRuntime(), SERVING, warmup=(), cache=False)
    first = TritonModel(new_config("tiny-first", 4))
    ensemble, *rest = assemble_ensemble(ingredients, TEXT, first, ("input_ids", "attention_mask"))
    steps = ensemble.config.ensemble_scheduling.step
    assert [model.name for model in rest] == members == [step.model_name for step in steps]
    assert [tensor.name for tensor in ensemble.config.output] == outputs
    assert {step.model_version for step in steps} == {1}  # pinned: a newer member alone never mixes with the rest
    made = {wire for step in steps for wire in step.output_map.values()}
    assert made >= set(outputs)
    assert {wire for step in steps for wire in step.input_map.values()} == (made - set(outputs)) | {"text"}
