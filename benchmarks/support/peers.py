"""What one engine or another tool makes of the same exported graph, each as its documentation has it used."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packc.candidate import OptionValue
from packc.ingest.ingest import Ingested
from packc.runtimes import find_runtime
from packc.samples import iter_samples

TORCH_ENGINE = Path(__file__).with_name("torch_engine.py")
OLIVE_MODEL_TYPES = {"bert": "bert", "vit": "vit"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of the table that pack did not make."""

    name: str
    engine: Path
    model: Path
    options: Mapping[str, OptionValue] = field(default_factory=dict)


def make_peers(ingested: Ingested, folder: Path, bf16: bool, olive: Path | None) -> Iterator[Peer]:
    """The rows, one at a time; files go below `folder`."""
    yield from make_torch_peers(ingested, bf16)
    for make in (make_openvino_peers, make_onnxruntime_peers):
        yield from make(ingested, folder, bf16)
    if olive is not None:
        yield from make_olive_peer(ingested, folder, olive)


def make_torch_peers(ingested: Ingested, bf16: bool) -> Iterator[Peer]:
    source = ingested.source
    common: dict[str, OptionValue] = {
        "checkpoint": source.info.location,
        "task": source.info.task,
        "pooling": source.info.pooling,
        "output": source.answer,
    }
    for name, mode, dtype in (
        ("torch eager", "eager", "float32"),
        ("torch.compile", "compile", "float32"),
        *((("torch.compile bf16", "compile", "bfloat16"),) if bf16 else ()),
    ):
        yield Peer(name, TORCH_ENGINE, source.graph, {**common, "mode": mode, "dtype": dtype})


def make_openvino_peers(ingested: Ingested, folder: Path, bf16: bool) -> Iterator[Peer]:
    """The exported graph as it is, and NNCF's post-training quantization with the preset for its kind of model."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # neither library then sends anything
    import nncf
    import openvino as ov

    engine = find_runtime("openvino").engine
    model = ov.convert_model(str(ingested.source.graph))
    plain = folder / "openvino.xml"
    ov.save_model(model, plain, compress_to_fp16=False)
    yield Peer("OpenVINO fp32", engine, plain, {"precision": "fp32"})
    if bf16:
        yield Peer("OpenVINO bf16", engine, plain, {"precision": "bf16"})
    kind = nncf.ModelType.TRANSFORMER if ingested.source.info.geometry else None
    samples = nncf.Dataset(list(iter_samples(ingested.calibration)))
    quantized = folder / "openvino_ptq.xml"
    ov.save_model(nncf.quantize(model, samples, model_type=kind, subset_size=128), quantized, compress_to_fp16=False)
    yield Peer("OpenVINO PTQ" + " + bf16" * bf16, engine, quantized, {"precision": "bf16" if bf16 else "fp32"})


def make_onnxruntime_peers(ingested: Ingested, folder: Path, bf16: bool) -> Iterator[Peer]:
    """onnxruntime.quantization as its defaults have it: dynamic for transformers, static Q/DQ for the others."""
    from onnxruntime.quantization import quantize_dynamic

    del bf16
    path = folder / "onnxruntime_int8.onnx"
    if ingested.source.info.geometry:
        try:
            quantize_dynamic(str(ingested.source.graph), str(path))
        except Exception as error:  # onnx's shape inference refuses some graphs that run
            print(f"left out: ONNX Runtime quantize_dynamic: {type(error).__name__}")
            return
        yield Peer("ONNX Runtime quantize_dynamic", find_runtime("onnxruntime").engine, path)


def make_olive_peer(ingested: Ingested, folder: Path, olive: Path) -> Iterator[Peer]:
    """Olive's recipe for encoders on CPUs: its transformer optimization, then its dynamic int8. `olive`: its Python."""
    kind = next((kind for kind in OLIVE_MODEL_TYPES if kind in str(ingested.source.info.architecture).lower()), None)
    geometry = ingested.source.info.geometry
    if kind is None or geometry is None:
        return
    config = {
        "input_model": {"type": "ONNXModel", "model_path": str(ingested.source.graph)},
        "passes": {
            "optimize": {
                "type": "OrtTransformersOptimization",
                "model_type": OLIVE_MODEL_TYPES[kind],
                "num_heads": geometry.heads,
                "hidden_size": geometry.hidden,
            },
            "quantize": {"type": "OnnxDynamicQuantization"},
        },
        "output_dir": str(folder / "olive"),
        "cache_dir": str(folder / "olive-cache"),
    }
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.json").write_text(json.dumps(config))
        command = [str(olive), "-m", "olive", "run", "--config", "config.json", "--disable_telemetry"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    found = sorted((folder / "olive").rglob("*.onnx"))
    if done.returncode or not found:
        print(f"left out: Olive ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return
    yield Peer("Olive (optimize + dynamic int8)", find_runtime("onnxruntime").engine, found[0])
