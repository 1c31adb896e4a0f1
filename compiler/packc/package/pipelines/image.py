"""Pipeline "image": an encoded image (PNG, JPEG, ...) in, a label or an embedding out.

<name>             ensemble: what clients call
<name>-preprocess  Python: encoded bytes -> the pixel tensor, with Pillow and numpy alone
<name>-model       the compiled graph
<name>-labels      Python, classifiers only: logits -> label and score
"""

from __future__ import annotations

from packc.ingest.source import ImagePreprocessing
from packc.package.model_config import add_batching, add_cpu_instances, add_tensor, new_config
from packc.package.pipelines.ensemble import assemble_ensemble
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.triton_model import TritonModel, version_path
from packc.package.render import render_template
from packc.tensors import TensorSpec

IMAGE = TensorSpec("image", "object", ("batch", 1))


def build_image_models(ingredients: Ingredients, preprocessing: ImagePreprocessing) -> tuple[TritonModel, ...]:
    """The ensemble first, then its members."""
    preprocess = _build_preprocess(ingredients, preprocessing)
    return assemble_ensemble(ingredients, IMAGE, preprocess, (preprocessing.input,))


def _build_preprocess(ingredients: Ingredients, preprocessing: ImagePreprocessing) -> TritonModel:
    p = preprocessing
    config = new_config(f"{ingredients.name}-preprocess", ingredients.serving.max_batch_size)
    config.backend = "python"
    add_tensor(config, "input", IMAGE)
    add_tensor(config, "output", TensorSpec(p.input, "float32", ("batch", p.channels, p.height, p.width)))
    add_batching(config, 0)
    add_cpu_instances(config, ingredients.serving.instances)  # decoding costs about what a small model does
    source = render_template("pipelines/image.py.j2", name=ingredients.name, p=preprocessing)
    return TritonModel(config, {version_path("model.py"): source})
