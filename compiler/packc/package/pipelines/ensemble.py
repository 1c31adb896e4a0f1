"""Ties a first step (text or image -> tensors), the compiled graph and, for classifiers, the labels step together.

An ensemble and not one Python model, so that the graph runs in Triton's own backend, outside Python's lock, and its
requests are batched there whichever first-step process they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packc.package.model_config import VERSION, add_cache, add_tensor, new_config
from packc.package.pipelines.labels import LABEL, SCORE, answer_tensor, build_labels_model
from packc.package.pipelines.tensors import CLASSIFIERS, Ingredients, build_graph_model, name_answer
from packc.package.pipelines.triton_model import TritonModel
from packc.tensors import TensorSpec


def assemble_ensemble(
    ingredients: Ingredients, entry: TensorSpec, first: TritonModel, inputs: tuple[str, ...]
) -> tuple[TritonModel, ...]:
    """The ensemble, then its members. `first` turns `entry` into the graph's `inputs`, under their names."""
    graph = build_graph_model(ingredients, f"{ingredients.name}-model")
    answer = answer_tensor(ingredients.source)
    wires = {name: name for name in inputs}
    if ingredients.source.info.task not in CLASSIFIERS:
        name = name_answer(ingredients.source.info.task)
        config = _new_ensemble(ingredients, entry, (TensorSpec(name, answer.dtype, answer.shape),))
        _add_step(config, first, {entry.name: entry.name}, wires)
        _add_step(config, graph, wires, {answer.name: name})
        return TritonModel(config), first, graph
    labels = build_labels_model(ingredients, f"{ingredients.name}-labels")
    config = _new_ensemble(ingredients, entry, (LABEL, SCORE))
    _add_step(config, first, {entry.name: entry.name}, wires)
    _add_step(config, graph, wires, {answer.name: "logits"})
    _add_step(config, labels, {"logits": "logits"}, {LABEL.name: LABEL.name, SCORE.name: SCORE.name})
    return TritonModel(config), first, graph, labels


def _new_ensemble(ingredients: Ingredients, entry: TensorSpec, outputs: tuple[TensorSpec, ...]) -> Any:
    config = new_config(ingredients.name, ingredients.serving.max_batch_size)
    config.platform = "ensemble"
    add_tensor(config, "input", entry)
    for tensor in outputs:
        add_tensor(config, "output", tensor)
    if ingredients.cache:
        add_cache(config)
    return config


def _add_step(config: Any, member: TritonModel, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Maps the member's tensors to the ensemble's.

    The version is pinned, so that a newer member alone never mixes with the older rest.
    """
    step = config.ensemble_scheduling.step.add(model_name=member.name, model_version=VERSION)
    for tensor, wire in inputs.items():
        step.input_map[tensor] = wire
    for tensor, wire in outputs.items():
        step.output_map[tensor] = wire
