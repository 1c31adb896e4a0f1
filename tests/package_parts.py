"""Small exported models, and the other ingredients of a package, made without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from packc.candidate import Candidate, OptionValue
from packc.ingest.source import ImagePreprocessing, Preprocessing, SourceInfo, SourceModel, TextPreprocessing
from packc.package.golden import GoldenSet
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.samples import Sample
from packc.serving import ServingPlan
from packc.spec.model import (
    BudgetSection,
    CalibrationSection,
    ModelSection,
    QualitySection,
    ServeSection,
    TargetSpec,
    Task,
    WorkloadSection,
)
from packc.spec.optimize import OptimizeSection
from packc.tensors import TensorSpec

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "cat", "dog", "café"]
HIDDEN = 8
CANDIDATE = Candidate("onnxruntime-fp32", "onnxruntime", "fp32", ())
SERVING = ServingPlan(instances=1, threads=2, max_batch_size=4, queue_delay_us=100, reasons=())


class StubRuntime:
    """What a package needs of the onnxruntime runtime."""

    name = library = "onnxruntime"
    device: Literal["cpu", "gpu"] = "cpu"
    engine_files = OnnxRuntime().engine_files
    model_filename = "model.onnx"
    server_requirement = None

    def job_options(self, candidate: Candidate, threads: int) -> dict[str, OptionValue]:
        return {"spinning": True}

    def configure_triton(self, config: Any, options: dict[str, OptionValue], threads: int) -> None:
        config.backend = "onnxruntime"
        config.parameters["intra_op_thread_count"].string_value = str(threads)


def make_info(task: Task, preprocessing: Preprocessing | None = None, labels: tuple[str, ...] = ()) -> SourceInfo:
    """A SourceInfo of a checkpoint that does not exist."""
    return SourceInfo(
        origin="huggingface",
        location="models/tiny",
        revision=None,
        fingerprint="0" * 64,
        task=task,
        architecture="TinyModel",
        geometry=None,
        preprocessing=preprocessing,
        pooling="mean",
        normalize=True,
        labels=labels,
        parameters=80,
        weights_mib=0.1,
        trust_remote_code=False,
    )


def make_text_source(folder: Path, task: Task = "sentence-similarity", labels: tuple[str, ...] = ()) -> SourceModel:
    """Embedding lookup, masked mean; for "text-classification" a dense layer to one logit a label."""
    inputs = [("input_ids", TensorProto.INT64), ("attention_mask", TensorProto.INT64)]
    generator = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["vectors", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "middle"], ["count"], keepdims=1),
    ]
    weights = {
        "table": generator.standard_normal((len(VOCABULARY), HIDDEN)).astype(np.float32),
        "last": np.array([2], dtype=np.int64),
        "middle": np.array([1], dtype=np.int64),
    }
    if task == "text-classification":
        answer = TensorSpec("logits", "float32", ("batch", len(labels)))
        nodes.append(helper.make_node("Div", ["sum", "count"], ["pooled"]))
        nodes.append(helper.make_node("MatMul", ["pooled", "head"], ["logits"]))
        weights["head"] = generator.standard_normal((HIDDEN, len(labels))).astype(np.float32)
    else:
        answer = TensorSpec("sentence_embedding", "float32", ("batch", HIDDEN))
        nodes.append(helper.make_node("Div", ["sum", "count"], ["sentence_embedding"]))
    _save(folder / "model.onnx", nodes, [(n, t, ["batch", "sequence"]) for n, t in inputs], answer, weights)
    preprocessing = TextPreprocessing(make_tokenizer(folder), 6, 0, ("input_ids", "attention_mask"))
    return SourceModel(
        info=make_info(task, preprocessing, labels),
        graph=folder / "model.onnx",
        inputs=tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name, _ in inputs),
        outputs=(answer,),
        answer=answer.name,
        parity_max_error=0.0,
        exporter="by hand",
    )


def make_image_source(folder: Path, preprocessing: ImagePreprocessing, labels: tuple[str, ...]) -> SourceModel:
    """Flattened pixels times a matrix: one logit a label."""
    p = preprocessing
    size = p.channels * p.height * p.width
    answer = TensorSpec("logits", "float32", ("batch", len(labels)))
    weights = {"head": np.random.default_rng(0).standard_normal((size, len(labels))).astype(np.float32) / size}
    nodes = [
        helper.make_node("Flatten", [p.input], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    shape = ["batch", p.channels, p.height, p.width]
    _save(folder / "model.onnx", nodes, [(p.input, TensorProto.FLOAT, shape)], answer, weights)
    return SourceModel(
        info=make_info("image-classification", preprocessing, labels),
        graph=folder / "model.onnx",
        inputs=(TensorSpec(p.input, "float32", ("batch", p.channels, p.height, p.width)),),
        outputs=(answer,),
        answer="logits",
        parity_max_error=0.0,
        exporter="by hand",
    )


def make_image_preprocessing(shortest_edge: int | None = None, channels: int = 3) -> ImagePreprocessing:
    """12 x 16 pixels, with different statistics for each channel."""
    return ImagePreprocessing(
        channels=channels,
        height=12,
        width=16,
        resize_shortest_edge=shortest_edge,
        resample=2,
        rescale=1 / 255,
        mean=(0.485, 0.456, 0.406)[:channels],
        std=(0.229, 0.224, 0.225)[:channels],
        input="pixel_values",
    )


def make_tokenizer(folder: Path) -> Path:
    """A word-level tokenizer.json with [CLS] and [SEP], and a baked-in padding that must not count."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def make_target_spec(*, cache: bool = False, warmup: bool = True, name: str = "tiny") -> TargetSpec:
    """A spec with nothing in it but a name."""
    return TargetSpec(
        target="cpu",
        profile="host",
        model=ModelSection(name=name, source="models/tiny"),
        workload=WorkloadSection(),
        budget=BudgetSection(),
        quality=QualitySection(),
        calibration=CalibrationSection(),
        optimize=OptimizeSection(),
        serve=ServeSection(cache=cache, warmup=warmup),
    )


def make_token_sample(ids: list[int]) -> Sample:
    """One text of these tokens, batch axis 1."""
    tokens = np.array([ids], dtype=np.int64)
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}


def run_graph(source: SourceModel, sample: Sample) -> dict[str, np.ndarray]:
    """The graph's outputs for one sample."""
    import onnxruntime

    session = onnxruntime.InferenceSession(source.graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(sample)), strict=True))


def make_text_golden(source: SourceModel, texts: dict[str, list[int]]) -> GoldenSet:
    """Golden texts with the ids that they must become; embeddings only."""
    answers = [{"embedding": run_graph(source, make_token_sample(ids))[source.answer]} for ids in texts.values()]
    return GoldenSet("text", answers, answers, texts=tuple(texts))


def _save(
    path: Path,
    nodes: list[Any],
    inputs: list[tuple[str, int, list[str | int]]],
    answer: TensorSpec,
    weights: dict[str, np.ndarray],
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(answer.name, TensorProto.FLOAT, list(answer.shape))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
