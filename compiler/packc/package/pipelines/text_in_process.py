"""Pipeline "text" in one process: tokenizer, length handling, the engine and the labels are one Python model.

    <name>/1/model.py        text in, an embedding, a label or a score out
    <name>/1/batches.py      which texts share a call
    <name>/1/engine.py       the runtime's adapter, the same that measured the candidate in its job
    <name>/1/tokenizer.json, the compiled model, labels.json for classifiers

An ensemble can only batch requests of equal length; this model sees all texts that wait and lays them out itself, and
no tensor crosses from one process to another (ADR 10). Threads, engine options and the length policy are parameters of
the configuration, so that they can be changed in place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from packc.errors import SourceError
from packc.ingest.source import TextPreprocessing
from packc.package.model_config import add_batching, add_cache, add_instances, add_tensor, new_config
from packc.package.pipelines import batches
from packc.package.pipelines.labels import LABEL, SCORE, answer_tensor, class_names
from packc.package.pipelines.tensors import CLASSIFIERS, WARMUP_CALLS, Ingredients, name_answer
from packc.package.pipelines.triton_model import FileContent, TritonModel, version_path
from packc.package.render import render_template
from packc.tensors import TensorSpec

TEXT = TensorSpec("text", "object", ("batch", 1))


def build_in_process_model(ingredients: Ingredients, preprocessing: TextPreprocessing) -> TritonModel:
    """The one model of the package. Raises SourceError for an answer whose size varies with the text."""
    serving, source = ingredients.serving, ingredients.source
    is_classifier = source.info.task in CLASSIFIERS
    answer = answer_tensor(source)
    if any(isinstance(size, str) for size in answer.shape[1:]):
        raise SourceError(f"answer {answer.name!r} has shape {list(answer.shape)}: only the batch may vary")
    output = name_answer(source.info.task)
    config = new_config(ingredients.name, serving.max_batch_size)
    config.backend = "python"
    add_tensor(config, "input", TEXT)
    for tensor in (LABEL, SCORE) if is_classifier else (TensorSpec(output, answer.dtype, answer.shape),):
        add_tensor(config, "output", tensor)
    add_batching(config, serving.queue_delay_us, serving.preferred_batch_sizes)
    add_instances(config, serving.instances, ingredients.runtime.device)
    if ingredients.cache:
        add_cache(config)
    if requirement := ingredients.runtime.server_requirement:
        config.parameters["requirement"].string_value = requirement
    for name, value in {
        "model": ingredients.runtime.model_filename,
        "threads": str(serving.threads),
        "engine_options": json.dumps(dict(ingredients.engine_options)),
        "lengths": serving.lengths,
        "length_multiple": str(serving.length_multiple),
        "token_budget": str(serving.token_budget),
    }.items():
        config.parameters[name].string_value = value
    tokens = {tensor.name: tensor for tensor in source.inputs}
    lengths = [sample[preprocessing.inputs[0]].shape[1] for sample in ingredients.warmup]
    model = render_template(
        "pipelines/text.py.j2",
        name=ingredients.name,
        classes=is_classifier,
        pairs=preprocessing.pairs,
        max_length=preprocessing.max_length,
        pad_id=preprocessing.pad_id,
        inputs=tuple((name, tokens[name].dtype) for name in preprocessing.inputs),
        answer=answer.name,
        output=output,
        calls=WARMUP_CALLS[ingredients.runtime.device],
        warmup_lengths=_rank_lengths(lengths, serving.length_multiple),
    )
    files: dict[str, FileContent] = {
        "model.py": model,
        "batches.py": Path(batches.__file__),
        **ingredients.runtime.engine_files,
        "tokenizer.json": preprocessing.tokenizer,
        **ingredients.artifact,
    }
    if is_classifier:
        files["labels.json"] = json.dumps(class_names(source), ensure_ascii=False, indent=0) + "\n"
    return TritonModel(config, {version_path(name): content for name, content in files.items()})


def _rank_lengths(lengths: Sequence[int], multiple: int) -> tuple[int, ...]:
    """Each length once: those first whose calls, rounded up to `multiple`, are the most common, then the shorter."""
    widths = Counter(batches.round_up(length, multiple) for length in lengths)
    return tuple(sorted(set(lengths), key=lambda length: (-widths[batches.round_up(length, multiple)], length)))
