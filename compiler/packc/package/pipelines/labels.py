"""The last step of a classifier's pipeline: logits in, the likeliest class and its probability out."""

from __future__ import annotations

import json

from packc.ingest.source import SourceModel
from packc.package.model_config import add_batching, add_cpu_instances, add_tensor, new_config
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.triton_model import TritonModel, version_path
from packc.package.render import render_template
from packc.tensors import TensorSpec

LABEL = TensorSpec("label", "object", ("batch", 1))
SCORE = TensorSpec("score", "float32", ("batch", 1))


def build_labels_model(ingredients: Ingredients, name: str) -> TritonModel:
    """The Python model `name`: `logits` [classes] -> `label` [1], `score` [1]."""
    logits = answer_tensor(ingredients.source)
    config = new_config(name, ingredients.serving.max_batch_size)
    config.backend = "python"
    add_tensor(config, "input", TensorSpec("logits", logits.dtype, logits.shape))
    add_tensor(config, "output", LABEL)
    add_tensor(config, "output", SCORE)
    add_batching(config, 0)
    add_cpu_instances(config, ingredients.helpers)
    labels = class_names(ingredients.source)
    return TritonModel(
        config,
        {
            version_path("model.py"): render_template("pipelines/labels.py.j2", name=ingredients.name),
            version_path("labels.json"): json.dumps(labels, ensure_ascii=False, indent=0) + "\n",
        },
    )


def answer_tensor(source: SourceModel) -> TensorSpec:
    """The output that clients want."""
    return next(tensor for tensor in source.outputs if tensor.name == source.answer)


def class_names(source: SourceModel) -> list[str]:
    """The labels in the order of the logits: the checkpoint's, or the class numbers as text where it has none."""
    if source.info.labels:
        return list(source.info.labels)
    classes = answer_tensor(source).shape[-1]
    return [str(i) for i in range(classes)] if isinstance(classes, int) else []
