from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from models import make_tiny_onnx
from packc.ingest.reference import OnnxReference, TorchReference
from packc.tensors import TensorSpec


def test_onnx_answers(tiny_onnx_path: Path) -> None:
    reference = OnnxReference(tiny_onnx_path)
    assert reference.outputs == ("scores",)
    scores = reference.answer({"features": np.ones((3, 8), np.float32)})["scores"]
    assert scores.shape == (3, 4)
    assert (scores >= 0).all()


def test_unnamed_axes_get_names(tmp_path: Path) -> None:
    def forget_name(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].Clear()

    reference = OnnxReference(make_tiny_onnx(tmp_path / "model.onnx", edit=forget_name))
    assert reference.read_signature()[0] == (TensorSpec("features", "float32", ("features_0", 8)),)


def test_torch_inputs_have_the_axes_of_the_export(bert_reference: TorchReference) -> None:
    assert bert_reference.read_inputs()[0] == TensorSpec("input_ids", "int64", ("batch", "sequence"))
