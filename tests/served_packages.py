"""Tiny packages for tests of server and push: one with tensors, one with text through an ensemble.

Both compute `input x scale`: a scale other than the golden answers' makes a package that answers wrongly.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from packc.package.golden import GoldenSet, write_golden
from packc.package.manifest import CandidateRecord, Manifest, PromiseRecord, State, VerdictRecord
from packc.package.manifest_file import hash_files, write_manifest
from packc.package.model_config import add_batching, add_cpu_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import TritonModel, write_models
from packc.tensors import TensorSpec

WIDTH = 4
X = TensorSpec("x", "float32", ("batch", WIDTH))
Y = TensorSpec("y", "float32", ("batch", WIDTH))
TEXT = TensorSpec("text", "object", ("batch", 1))
EMBEDDING = TensorSpec("embedding", "float32", ("batch", WIDTH))
TEXTS = ("a cat", "two dogs", "three small birds")

_COUNT_LETTERS = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
            rows = [[text.decode().count(letter) for letter in "aeio"] for text in texts]
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("x", np.array(rows, np.float32))]))
        return responses
"""


def make_scaling_graph(path: Path, scale: float = 2.0) -> Path:
    """ONNX: y [batch, WIDTH] = x * scale."""
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        "scaling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [1], [scale])],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def make_graph_model(name: str, onnx: Path, *, max_batch_size: int = 8) -> TritonModel:
    """A Triton model for a file of `make_scaling_graph`."""
    config = new_config(name, max_batch_size)
    config.backend = "onnxruntime"
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    add_batching(config, 0)
    add_cpu_instances(config, 1)
    config.parameters["intra_op_thread_count"].string_value = "1"
    return TritonModel(config, {"1/model.onnx": onnx})


def write_tensor_package(folder: Path, name: str = "tiny", *, scale: float = 2.0, promised: float = 2.0) -> Path:
    """A package of one model, tensors in and out. It multiplies by `scale`, its golden answers by `promised`."""
    onnx = make_scaling_graph(folder.parent / f"{folder.name}-scaling" / "model.onnx", scale)
    inputs = [{"x": np.full((1, WIDTH), i + 1, np.float32)} for i in range(3)]
    answers = [{"y": sample["x"] * np.float32(promised)} for sample in inputs]
    golden = GoldenSet("none", answers, answers, tensors=inputs)
    return _write_package(folder, name, (make_graph_model(name, onnx),), golden)


def write_text_package(folder: Path, name: str = "letters", *, scale: float = 2.0, promised: float = 2.0) -> Path:
    """A package of an ensemble: text -> counts of letters -> `embedding`, the counts times `scale`."""
    onnx = make_scaling_graph(folder.parent / f"{folder.name}-scaling" / "model.onnx", scale)
    counts = [np.array([[text.count(letter) for letter in "aeio"]], np.float32) for text in TEXTS]
    answers = [{"embedding": row * np.float32(promised)} for row in counts]
    golden = GoldenSet("text", answers, answers, texts=TEXTS)
    return _write_package(folder, name, _make_ensemble(name, onnx), golden)


def read_config(folder: Path) -> Any:
    """The ModelConfig of a model's folder."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def make_manifest(name: str, state: State = "verified") -> Manifest:
    """A manifest that chose an fp32 candidate."""
    return Manifest(
        model=name,
        target="here",
        profile="host",
        state=state,
        verdict=VerdictRecord(met=True, chosen="ort-fp32", reasons=()),
        promises=PromiseRecord(1000.0, 99.0, None, None, None, "cosine", 0.9, "generated"),
        candidates=(CandidateRecord("ort-fp32", "onnxruntime", "fp32", (), "kept", None, None),),
        rejected=(),
        served=None,
        environment={},
    )


def _make_ensemble(name: str, onnx: Path) -> tuple[TritonModel, ...]:
    tokenizer = new_config(f"{name}-tokenizer", 8)
    tokenizer.backend = "python"
    add_tensor(tokenizer, "input", TEXT)
    add_tensor(tokenizer, "output", X)
    add_cpu_instances(tokenizer, 1)
    ensemble = new_config(name, 8)
    ensemble.platform = "ensemble"
    add_tensor(ensemble, "input", TEXT)
    add_tensor(ensemble, "output", EMBEDDING)
    first = ensemble.ensemble_scheduling.step.add(model_name=f"{name}-tokenizer", model_version=1)
    first.input_map["text"], first.output_map["x"] = "text", "x"
    second = ensemble.ensemble_scheduling.step.add(model_name=f"{name}-model", model_version=1)
    second.input_map["x"], second.output_map["y"] = "x", "embedding"
    return (
        TritonModel(ensemble),
        TritonModel(tokenizer, {"1/model.py": _COUNT_LETTERS}),
        make_graph_model(f"{name}-model", onnx),
    )


def _write_package(folder: Path, name: str, models: tuple[TritonModel, ...], golden: GoldenSet) -> Path:
    folder.mkdir(parents=True)
    write_models(models, folder / "model_repository")
    write_golden(folder / "golden", golden)
    write_manifest(folder, dataclasses.replace(make_manifest(name), files=hash_files(folder)))
    return folder
