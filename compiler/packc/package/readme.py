"""README.md of a package: how to serve, ask and check it, with commands that work as they stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packc.candidate import PassStep
from packc.package.docker import find_torch_index, server_command
from packc.package.engine_stamp import EngineStamp
from packc.package.golden import GoldenSet
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.pipelines.triton_model import TritonModel
from packc.package.render import render_template
from packc.runtimes.onnxruntime_cuda import LENGTHS, MASK_AS_IT_IS
from packc.runtimes.runtime import GRAPH_PARAMETER
from packc.samples import Sample
from packc.spec.model import TargetSpec

_LARGEST_CURL = 256
"""Elements of a request that is still shown as JSON."""
_ONNX_RUNTIMES = {18: "1.14", 19: "1.16", 20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23"}
"""ONNX opset -> the release of ONNX Runtime from which on it is read."""


def write_readme(
    path: Path,
    spec: TargetSpec,
    golden: GoldenSet,
    models: tuple[TritonModel, ...],
    opset: int | None,
    packages: tuple[str, ...],
    passes: Sequence[PassStep] = (),
    engine: EngineStamp | None = None,
    *,
    is_served: bool = True,
) -> None:
    """`models` are the package's, the one that clients call first; `opset` the graph's, None if it is not ONNX;
    `packages` the Python packages that the server needs beside it; `passes` made the graph; `engine` is the stamp of
    TensorRT's; `is_served` says whether a server gives the package its figures."""
    served = models[0].config
    outputs = [tensor.name for tensor in served.output]
    text = render_template(
        "package_readme.md.j2",
        name=spec.model.name,
        target=spec.target,
        pipeline=golden.pipeline,
        outputs=outputs,
        command=server_command(
            "model_repository",
            cache=spec.serve.cache,
            brings_code=engine is not None and engine.is_version_compatible,
        ),
        packages=packages,
        curl=_write_curl(spec.model.name, golden),
        example=_example(golden),
        inputs=tuple(tensor.name for tensor in served.input),
        max_batch_size=served.max_batch_size,
        need=_say_need(opset) if opset else _say_engine(engine) if engine else _say_backend(models),
        gpu=_say_gpu(models, golden.pipeline, is_served=is_served, warms_up=spec.serve.warmup),
        lengths=_say_lengths(golden, passes),
        models=[(model.name, _describe_role(model)) for model in models],
    )
    path.write_text(text)


def _say_need(opset: int) -> str:
    """What the server's runtime has to read."""
    release = _ONNX_RUNTIMES.get(max(opset, min(_ONNX_RUNTIMES)))
    readers = f", which ONNX Runtime {release} and newer read" if release else ""
    return f"The graph is written in ONNX opset {opset}{readers}."


def _say_engine(engine: EngineStamp) -> str:
    """What an engine is bound to."""
    version = "in that very version of TensorRT"
    if engine.is_version_compatible:
        version = (
            "in that version of TensorRT and in later ones as far as NVIDIA's documentation promises, by code that it "
            "brings, which a server runs only with `--backend-config=tensorrt,version-compatible=true`,"
        )
    gpu = {
        "none": "that GPU",
        "ampere_plus": "GPUs of Ampere and later",
        "same_compute_capability": f"GPUs of compute capability {engine.compute_capability}",
    }[engine.hardware_compatible]
    return (
        f"The model is an engine of {engine.describe()}, {engine.os}. It loads {version} and on {gpu}: take a release "
        "of Triton that has it (NVIDIA's support matrix of Triton says which; the one in the Dockerfile may have "
        "another), or build again with the server's TensorRT on the server's GPU. Requests of shapes beyond its "
        f"optimization profiles are refused: {'; '.join(engine.profiles) or 'all shapes are fixed'}."
    )


def _say_backend(models: tuple[TritonModel, ...]) -> str | None:
    """What a compiled model is bound to; what another backend than the one that pack verifies with does otherwise."""
    bound = {model.config.parameters["requirement"].string_value for model in models if _is_bound(model)}
    if any("+cu" in requirement for requirement in bound):
        index = find_torch_index(min(bound))
        return (
            f"The model is compiled by AOTInductor for {', '.join(sorted(bound))} and for GPUs of the compute "
            "capability that it was built on. In another version or build of PyTorch, or on another kind of GPU, it "
            f"refuses to load; build it again there. pip finds that build with `--index-url {index}`; "
            "PyPI has one build of each version, whose CUDA may be another."
        )
    if bound:
        return (
            f"The model is compiled by AOTInductor for {', '.join(sorted(bound))} and for CPUs like the one that it "
            "was built on. In another version, or on a CPU that lacks instructions of it, it refuses to load; build it "
            "again there."
        )
    if not any(model.config.backend == "openvino" for model in models):
        return None
    return (
        "The graph is OpenVINO IR. pack serves it in a Python-based `openvino` backend around the `openvino` package. "
        "Triton's native one fills every batch up to the largest, and computes fp32 in bf16 where the CPU has it."
    )


def _is_bound(model: TritonModel) -> bool:
    found = model.config.parameters.get("requirement")
    return found is not None and found.string_value.startswith("torch==")


def _say_gpu(
    models: tuple[TritonModel, ...], pipeline: ChosenPipeline, *, is_served: bool, warms_up: bool
) -> str | None:
    """What a model on a GPU wants of its server, and what other servers do less than pack's; None on a CPU."""
    on_gpu = [model for model in models if any(group.gpus for group in model.config.instance_group)]
    if not on_gpu:
        return None
    place = (
        "The model runs on the first GPU that the server sees: a container needs `docker run --gpus 1`, which "
        "compose.yaml asks for, and `gpus` in config.pbtxt names others."
    )
    records = (GRAPH_PARAMETER in model.config.parameters for model in on_gpu if model.config.backend == "onnxruntime")
    graphs = [WITHOUT_GRAPHS] if any(records) else []
    return " ".join([place, *graphs, *_say_first_calls(models, pipeline, is_served, warms_up)])


def _say_first_calls(
    models: tuple[TritonModel, ...], pipeline: ChosenPipeline, is_served: bool, warms_up: bool
) -> list[str]:
    """How requests of new shapes fare on a GPU, what that means for the figures, and what to do about it."""
    shapes, sent = ("lengths", "texts of all lengths") if pipeline == "text" else ("shapes", "requests of all shapes")
    figures = f"The served figures are of a server that had seen the {shapes} of its requests."
    if not is_served:
        figures = "No server ran: the figures are of one caller in a process of its own, after calls of each shape."
    few = ", which are few, as it rounds them" if any(_serves_text(model) for model in models) else ""
    knows = f"the {shapes} of its warm-up{few}" if warms_up else "none, as [serve] warmup is off"
    return [
        FIRST_CALLS,
        *([MINILMS_FIRST_CALLS] if pipeline == "text" else []),
        figures,
        f"A server that has just started knows {knows}; where first requests matter, send {sent} before clients do.",
    ]


WITHOUT_GRAPHS = (
    "It was measured with CUDA graphs, which pack's own onnxruntime backend records. Triton's native backend, the one "
    "in the image, ignores that parameter and launches kernel by kernel: the same answers, later."
)
FIRST_CALLS = (
    "The first request of each shape is slower, as kernels are chosen for it and a CUDA graph may be recorded."
)
MINILMS_FIRST_CALLS = (
    "MiniLM in ONNX Runtime on an H200, for one, took some 90 ms more for each length of text that was new."
)
RIGHT_PADDING = (
    "The graph takes the mask of each sample for a length: padding must come last. A mask with gaps, or with padding "
    "on the left, gives other answers than the source model, and no error."
)


def _say_lengths(golden: GoldenSet, passes: Sequence[PassStep]) -> str | None:
    """That masks must be lengths, where it is clients who make them."""
    merged = any(step.name == LENGTHS.name and step.options != MASK_AS_IT_IS for step in passes)
    return RIGHT_PADDING if merged and golden.pipeline == "none" else None


def _example(golden: GoldenSet) -> str:
    if golden.pipeline == "image":
        return f"golden/images/{golden.images[0].name}"
    return golden.texts[0] if golden.pipeline == "text" else ""


def _write_curl(name: str, golden: GoldenSet) -> str | None:
    """A curl command that answers as it stands; None for tensors too large to print."""
    url = f"localhost:8000/v2/models/{name}/infer"
    if golden.pipeline == "image":
        return (
            f"curl -s {url} -H 'Inference-Header-Content-Length: 0' "
            f"-H 'Content-Type: application/octet-stream' --data-binary @{_example(golden)} --output -"
        )
    sample = golden.tensors[0] if golden.pipeline == "none" else {"text": np.array([[golden.texts[0]]], dtype=object)}
    if sum(array.size for array in sample.values()) > _LARGEST_CURL:
        return None
    body = json.dumps({"inputs": _as_json(sample)}, ensure_ascii=False).replace("'", "'\\''")
    return f"curl -s {url} -d '{body}'"


def _as_json(sample: Sample) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": _DATATYPES.get(array.dtype.name, array.dtype.name.upper()),
            "data": array.ravel().tolist(),
        }
        for name, array in sample.items()
    ]


_DATATYPES = {"object": "BYTES", "float16": "FP16", "float32": "FP32", "float64": "FP64"}
"""Names of element types in the protocol that are not numpy's in capitals."""


def _describe_role(model: TritonModel) -> str:
    if model.config.platform == "ensemble":
        return "what clients call: the steps below as one"
    if model.name.endswith("-tokenizer"):
        return "text to tokens"
    if model.name.endswith("-preprocess"):
        return "encoded image to pixels"
    if model.name.endswith("-labels"):
        return "logits to label and score"
    if _serves_text(model):
        return "text to answer in one process: tokenizer and compiled graph"
    if model.config.backend == "python":
        return "the compiled graph, run by its engine in a Python process"
    return "the compiled graph"


def _serves_text(model: TritonModel) -> bool:
    """Whether one process tokenizes and computes."""
    return model.config.backend == "python" and "lengths" in model.config.parameters
