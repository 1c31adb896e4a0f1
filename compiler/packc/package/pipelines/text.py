"""Pipeline "text": text in, an embedding or a label out.

    <name>            ensemble: what clients call
    <name>-tokenizer  Python: text -> token tensors, with the `tokenizers` library alone
    <name>-model      the compiled graph; its pooling and normalisation are inside
    <name>-labels     Python, classifiers only: logits -> label and score

Each request is padded to its own longest text: padding to its neighbours' length would make an answer depend on who
else asks. Where the plan says so, all of this is one model instead (text_in_process.py).
"""

from __future__ import annotations

from packc.ingest.source import TextPreprocessing
from packc.package.model_config import add_batching, add_cpu_instances, add_tensor, new_config
from packc.package.pipelines.ensemble import assemble_ensemble
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.text_in_process import TEXT, build_in_process_model
from packc.package.pipelines.triton_model import TritonModel, version_path
from packc.package.render import render_template


def build_text_models(ingredients: Ingredients, preprocessing: TextPreprocessing) -> tuple[TritonModel, ...]:
    """The ensemble first, then its members; or the one model that does their work in one process."""
    if ingredients.serving.front == "in_process":
        return (build_in_process_model(ingredients, preprocessing),)
    tokenizer = _build_tokenizer(ingredients, preprocessing)
    return assemble_ensemble(ingredients, TEXT, tokenizer, preprocessing.inputs)


def _build_tokenizer(ingredients: Ingredients, preprocessing: TextPreprocessing) -> TritonModel:
    config = new_config(f"{ingredients.name}-tokenizer", ingredients.serving.max_batch_size)
    config.backend = "python"
    add_tensor(config, "input", TEXT)
    tokens = {tensor.name: tensor for tensor in ingredients.source.inputs}
    for name in preprocessing.inputs:
        add_tensor(config, "output", tokens[name])
    add_batching(config, 0)
    add_cpu_instances(config, ingredients.helpers)
    source = render_template(
        "pipelines/tokenizer.py.j2",
        name=ingredients.name,
        max_length=preprocessing.max_length,
        pad_id=preprocessing.pad_id,
        pairs=preprocessing.pairs,
        outputs=tuple((name, tokens[name].dtype) for name in preprocessing.inputs),
    )
    return TritonModel(
        config, {version_path("model.py"): source, version_path("tokenizer.json"): preprocessing.tokenizer}
    )
