from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from families import make_family
from packc.errors import SourceError
from packc.ingest import export
from packc.ingest.export import OPSET, export_module, shorten_message, trace_module
from packc.ingest.inspect import inspect_source
from packc.ingest.load_checkpoint import load_checkpoint
from packc.ingest.parity import compare_export, make_probes
from packc.ingest.reference import OnnxReference, TorchReference
from packc.spec.model import ModelSection, Task
from packc.tensors import TensorSpec


class Scale(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(4096.0).reshape(512, 8))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (tensors[0] @ self.weight.T, tensors[0].flatten(1))


class First(torch.nn.Module):
    """A module of one tensor, called as references call theirs."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.module(tensors[0]),)


class Branch(torch.nn.Module):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (tensors[0] if tensors[0].sum() > 0 else -tensors[0],)


def reference_of(module: torch.nn.Module, *outputs: str) -> TorchReference:
    return TorchReference(module.eval(), ("x",), outputs, {"x": torch.ones(2, 8)}, {0: ("batch", None)})


def test_text_encoder_keeps_its_names_and_axes(bert_graph: Path) -> None:
    inputs, outputs = OnnxReference(bert_graph).read_signature()
    axes = ("batch", "sequence")
    assert inputs == tuple(
        TensorSpec(name, "int64", axes) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    assert outputs == (TensorSpec("sentence_embedding", "float32", ("batch", 32)),)
    assert onnx.load(bert_graph).opset_import[0].version == OPSET


def test_attention_can_be_fused(bert_graph: Path) -> None:
    """The form that the passes rely on: two layers give two Attention and four SkipLayerNormalization."""
    import onnx_ir
    from transformers.exporters.onnxruntime_fusions import fuse_for_onnxruntime

    model = onnx_ir.load(bert_graph)
    fuse_for_onnxruntime(model, "cpu")
    found = [node.op_type for node in model.graph]
    assert (found.count("Attention"), found.count("SkipLayerNormalization"), found.count("BiasGelu")) == (2, 4, 2)


def test_graph_names_no_file_of_this_machine(bert_graph: Path) -> None:
    assert b"site-packages" not in bert_graph.read_bytes()
    assert b"/packc/" not in bert_graph.read_bytes()


def test_large_weights_lie_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = reference_of(Scale(), "product", "flat")
    export_module(reference, tmp_path / "one.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["one.onnx"]
    monkeypatch.setattr(export, "EXTERNAL_DATA_BYTES", 10_000)
    export_module(reference, tmp_path / "two.onnx")
    assert (tmp_path / "two.onnx.data").stat().st_size >= 16_384
    assert OnnxReference(tmp_path / "two.onnx").read_signature()[1][0].shape == ("batch", 512)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_values_that_share_a_shape_are_renamed(approximate: str, tmp_path: Path) -> None:
    """Exported, GELU has such values, and their shape is frozen."""
    layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(approximate), torch.nn.Linear(16, 3))
    export_module(reference_of(First(layers), "y"), tmp_path / "model.onnx")
    inputs, outputs = OnnxReference(tmp_path / "model.onnx").read_signature()
    assert (inputs[0].shape, outputs[0].shape) == (("batch", 8), ("batch", 3))
    values = onnx.load(tmp_path / "model.onnx").graph.value_info
    assert {dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim} <= {"batch", ""}


def test_branching_on_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the model cannot be exported: .*data-dependent") as caught:
        export_module(reference_of(Branch(), "y"), tmp_path / "model.onnx")
    assert "control flow" in str(caught.value.hint)


def test_sizes_that_pytorch_tells_apart_are_an_error_unless_one_says_so() -> None:
    class Padded(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
            return (tensors[0] + 1 if tensors[0].shape[1] % 8 else tensors[0],)

    example = {"ids": torch.ones(2, 17)}
    reference = TorchReference(Padded(), ("ids",), ("y",), example, {0: ("batch", None), 1: ("sequence", 512)})
    with torch.no_grad(), pytest.raises(Exception, match="Constraints violated"):
        trace_module(reference)
    with torch.no_grad():
        traced = trace_module(reference, is_lenient=True)
    assert sorted(str(found) for found in traced.range_constraints.values()) == ["VR[2, 512]", "VR[2, int_oo]"]


def test_messages_are_shortened() -> None:
    assert shorten_message("\n one\n\n two \nthree\nfour\nfive") == "one two three four"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        ("clip", None),
        ("clip", "image-feature-extraction"),
        ("t5", "sentence-similarity"),
        ("whisper", None),
        ("wav2vec2", None),
        ("yolos", None),
        ("segformer", None),
    ],
)
def test_families_export_as_they_are(family: str, wanted: Task | None, tmp_path: Path) -> None:
    folder = make_family(tmp_path / family, family)
    info = inspect_source(ModelSection(name="m", source=str(folder), task=wanted))
    reference = load_checkpoint(info)
    graph = tmp_path / "model.onnx"
    export_module(reference, graph)
    assert compare_export(OnnxReference(graph), make_probes(reference, info)) < 1e-3
