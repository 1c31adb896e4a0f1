from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from goldens import check_golden
from models import write_smooth_images
from package_parts import make_target_spec, make_token_sample
from packc.package.docker import PYTHON_PACKAGES
from packc.package.golden import GoldenSet
from packc.package.model_config import add_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import TritonModel
from packc.package.readme import write_readme
from packc.tensors import TensorSpec


def render(folder: Path, golden: GoldenSet, *outputs: str, opset: int | None = 20) -> str:
    config = new_config("tiny", 4)
    names = golden.tensors[0] if golden.tensors else [golden.pipeline]
    for name in names:
        add_tensor(config, "input", TensorSpec(name, "int64", ("batch", 1)))
    for name in outputs:
        add_tensor(config, "output", TensorSpec(name, "float32", ("batch", 1)))
    if golden.pipeline != "none":
        config.platform = "ensemble"
    models = (TritonModel(config), TritonModel(new_config("tiny-model", 4)))
    write_readme(folder / "README.md", make_target_spec(), golden, models, opset, PYTHON_PACKAGES[golden.pipeline])
    text = (folder / "README.md").read_text()
    ast.parse(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    return text


def test_text(tmp_path: Path) -> None:
    text = render(tmp_path, GoldenSet("text", (), (), texts=("it's a\ttab",)), "embedding")
    check_golden("package/readme_text.md", text)
    curl = shlex.split(re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1])
    assert json.loads(curl[-1])["inputs"][0]["data"] == ["it's a\ttab"]


def test_image(tmp_path: Path) -> None:
    images = tuple(write_smooth_images(tmp_path / "images", 1).iterdir())
    check_golden(
        "package/readme_image.md", render(tmp_path, GoldenSet("image", (), (), images=images), "label", "score")
    )


def test_tensors(tmp_path: Path) -> None:
    text = render(tmp_path, GoldenSet("none", (), (), tensors=(make_token_sample([2, 3]),)), "logits")
    check_golden("package/readme_tensors.md", text)


def test_large_tensors_are_not_printed(tmp_path: Path) -> None:
    golden = GoldenSet("none", (), (), tensors=({"x": np.zeros((1, 300), dtype=np.float16)},))
    assert "curl" not in render(tmp_path, golden, "logits")


def test_what_openvinos_native_backend_does_otherwise(tmp_path: Path) -> None:
    config = new_config("tiny", 4)
    config.backend = "openvino"
    golden = GoldenSet("none", (), (), tensors=(make_token_sample([2, 3]),))
    write_readme(tmp_path / "README.md", make_target_spec(), golden, (TritonModel(config),), None, ())
    assert "pack serves it in a Python-based `openvino` backend" in (tmp_path / "README.md").read_text()


def test_what_a_compiled_model_is_bound_to(tmp_path: Path) -> None:
    config = new_config("tiny", 4)
    config.backend = "python"
    for name, value in {"model": "model.pt2", "requirement": "torch==2.13.0"}.items():
        config.parameters[name].string_value = value
    golden = GoldenSet("none", (), (), tensors=(make_token_sample([2, 3]),))
    models = (TritonModel(config),)
    write_readme(tmp_path / "README.md", make_target_spec(), golden, models, None, ("torch==2.13.0",))
    text = (tmp_path / "README.md").read_text()
    assert "compiled by AOTInductor for torch==2.13.0 and for CPUs like the one" in text
    assert "Its Python model needs torch==2.13.0, installed with pip" in text
    assert "| the compiled graph, run by its engine in a Python process |" in text


@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_a_package_for_a_gpu_tells_of_first_requests(tmp_path: Path, device: Literal["cpu", "gpu"]) -> None:
    config = new_config("tiny", 4)
    add_instances(config, 1, device)
    golden = GoldenSet("none", (), (), tensors=(make_token_sample([2, 3]),))
    write_readme(tmp_path / "README.md", make_target_spec(), golden, (TritonModel(config),), None, ())
    told = "The first request of each shape is slower" in (tmp_path / "README.md").read_text()
    assert told == (device == "gpu")


def render_gpu(
    folder: Path, golden: GoldenSet, *, is_served: bool, front: str = "ensemble", warmup: bool = True
) -> str:
    config = new_config("tiny", 4)
    add_instances(config, 1, "gpu")
    if front == "in_process":
        config.backend = "python"
        config.parameters["lengths"].string_value = "pad"
    models = (TritonModel(config),)
    spec = make_target_spec(warmup=warmup)
    write_readme(folder / "README.md", spec, golden, models, None, (), is_served=is_served)
    return (folder / "README.md").read_text()


TENSORS, TEXTS = GoldenSet("none", (), (), tensors=(make_token_sample([2, 3]),)), GoldenSet("text", (), (), ("a",))


def test_figures_of_a_server_are_told_where_one_ran(tmp_path: Path) -> None:
    served = render_gpu(tmp_path, TENSORS, is_served=True)
    assert "The served figures are of a server that had seen the shapes of its requests." in served
    alone = render_gpu(tmp_path, TENSORS, is_served=False)
    assert "No server ran: the figures are of one caller in a process of its own, after calls of each shape." in alone
    assert "served figures" not in alone


def test_first_requests_are_told_in_the_words_of_the_pipeline(tmp_path: Path) -> None:
    tensors = render_gpu(tmp_path, TENSORS, is_served=True)
    assert "knows the shapes of its warm-up; where first requests matter, send requests of all shapes" in tensors
    assert "MiniLM" not in tensors
    assert "length" not in tensors.split("## Ask it")[0]
    texts = render_gpu(tmp_path, TEXTS, is_served=True)
    assert "MiniLM in ONNX Runtime on an H200, for one, took some 90 ms more" in texts
    assert "knows the lengths of its warm-up; where first requests matter, send texts of all lengths" in texts
    cold = render_gpu(tmp_path, TEXTS, is_served=True, warmup=False)
    assert "has just started knows none, as [serve] warmup is off; where" in cold
    assert "its warm-up, which are few" in render_gpu(tmp_path, TEXTS, is_served=True, front="in_process")


def test_a_model_compiled_for_a_gpu_names_the_build_of_torch(tmp_path: Path) -> None:
    config = new_config("tiny", 4)
    config.backend = "python"
    for name, value in {"model": "model.pt2", "requirement": "torch==2.11.0+cu130"}.items():
        config.parameters[name].string_value = value
    golden = GoldenSet("none", (), (), tensors=(make_token_sample([2, 3]),))
    write_readme(tmp_path / "README.md", make_target_spec(), golden, (TritonModel(config),), None, ())
    text = (tmp_path / "README.md").read_text()
    assert "compiled by AOTInductor for torch==2.11.0+cu130 and for GPUs of the compute capability" in text
    assert "`--index-url https://download.pytorch.org/whl/cu130`" in text


@pytest.mark.parametrize(
    ("opset", "sentence"),
    [
        (13, "opset 13, which ONNX Runtime 1.14 and newer read."),
        (23, "opset 23, which ONNX Runtime 1.23 and newer read."),
        (99, "opset 99.\n"),
    ],
)
def test_what_reads_the_graph(tmp_path: Path, opset: int, sentence: str) -> None:
    golden = GoldenSet("text", (), (), texts=("a",))
    assert sentence in render(tmp_path, golden, "embedding", opset=opset)
    assert "opset" not in render(tmp_path, golden, "embedding", opset=None)
