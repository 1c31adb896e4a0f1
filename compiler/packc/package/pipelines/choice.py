"""Which pipeline a package gets: what its clients send."""

from __future__ import annotations

from typing import Literal

from packc.errors import Diagnostic, SourceError, SpecError
from packc.ingest.source import ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.package.pipelines.image import build_image_models
from packc.package.pipelines.tensors import Ingredients, build_tensor_models
from packc.package.pipelines.text import build_text_models
from packc.package.pipelines.triton_model import TritonModel
from packc.spec.model import Pipeline, Task

ChosenPipeline = Literal["text", "image", "none"]

TASKS_OF_TEXTS: tuple[Task, ...] = (
    "sentence-similarity",
    "feature-extraction",
    "text-classification",
    "text-ranking",
)
TASKS_OF_IMAGES: tuple[Task, ...] = ("image-classification", "image-feature-extraction")
"""Tasks with one answer a sample. Answers for each token (spans, tags, masks) stay tensors: turning them into text
needs the characters' offsets and choices that belong to the application."""


def choose_pipeline(wanted: Pipeline, info: SourceInfo) -> ChosenPipeline:
    """`wanted`, or for "auto" the one that the model's task and files allow.

    Raises SpecError for a wanted pipeline that the model cannot have.
    """
    if wanted == "none":
        return "none"
    problems: dict[ChosenPipeline, str | None] = {
        "text": _explain(info, TASKS_OF_TEXTS, isinstance(info.preprocessing, TextPreprocessing), "tokenizer.json"),
        "image": _explain(
            info, TASKS_OF_IMAGES, isinstance(info.preprocessing, ImagePreprocessing), "preprocessor_config.json"
        ),
    }
    if wanted == "auto":
        return next((pipeline for pipeline, problem in problems.items() if problem is None), "none")
    if problem := problems[wanted]:
        raise SpecError(
            Diagnostic(
                f'[serve] pipeline = "{wanted}" is not possible for this model: {problem}',
                hint='leave `pipeline` out, or set it to "none" to serve the model\'s own tensors',
            )
        )
    return wanted


def build_models(pipeline: ChosenPipeline, ingredients: Ingredients) -> tuple[TritonModel, ...]:
    """All Triton models of the package, the one that clients call first.

    Raises SourceError when the graph has no batch axis that a text or image pipeline could use.
    """
    if pipeline == "none":
        return build_tensor_models(ingredients)
    if ingredients.serving.max_batch_size == 0:
        raise SourceError(
            f"the graph has no dynamic batch axis, which the {pipeline} pipeline needs",
            hint='set pipeline = "none" under [serve], or export the model with a dynamic first axis',
        )
    preprocessing = ingredients.source.info.preprocessing
    if isinstance(preprocessing, TextPreprocessing):
        return build_text_models(ingredients, preprocessing)
    assert isinstance(preprocessing, ImagePreprocessing)
    return build_image_models(ingredients, preprocessing)


def _explain(info: SourceInfo, tasks: tuple[Task, ...], has_preprocessing: bool, file: str) -> str | None:
    """Why the model cannot have a pipeline for `tasks`; None when it can."""
    if info.task not in tasks:
        return f"its task is {info.task}, the pipeline is for {', '.join(tasks)}"
    if not has_preprocessing:
        return f"its source has no {file}"
    return None
