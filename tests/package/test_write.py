from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from engines import make_stamp, write_engine
from goldens import check_golden
from package_parts import (
    CANDIDATE,
    SERVING,
    StubRuntime,
    make_target_spec,
    make_text_golden,
    make_text_source,
    make_token_sample,
    run_graph,
)
from packc.candidate import Candidate, PassStep
from packc.errors import PackError
from packc.ingest.source import SourceModel
from packc.package.golden import GoldenSet
from packc.package.lint import lint_repository
from packc.package.pipelines.tensors import TritonRuntime
from packc.package.write import write_package
from packc.runtimes import onnxruntime_cuda
from packc.runtimes.onnxruntime_cuda import GRAPH, LENGTHS, OnnxRuntimeCuda
from packc.runtimes.runtime import GRAPH_PARAMETER
from packc.runtimes.tensorrt import TensorRt
from packc.server.libraries import find_requirements
from packc.serving import ServingPlan
from packc.spec.model import TargetSpec
from packc.tensors import TensorSpec


def write(
    folder: Path,
    source: SourceModel,
    spec: TargetSpec,
    serving: ServingPlan = SERVING,
    candidate: Candidate = CANDIDATE,
    runtime: TritonRuntime | None = None,
    model: Path | None = None,
) -> Path:
    folder.mkdir()
    write_package(
        folder,
        spec=spec,
        source=source,
        model=model or source.graph,
        candidate=candidate,
        runtime=runtime or StubRuntime(),
        serving=serving,
        warmup=[make_token_sample([2, 4, 3]), make_token_sample([2, 4, 5, 3])],
        golden=make_text_golden(source, {"red": [2, 4, 3]}),
        versions={"onnxruntime": "1.31.1"},
    )
    return folder


def test_everything_but_manifest_and_report(tmp_path: Path) -> None:
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec())
    assert sorted(path.name for path in package.iterdir()) == [
        "Dockerfile",
        "README.md",
        "compose.yaml",
        "golden",
        "model_repository",
        "sbom.cdx.json",
    ]
    assert lint_repository(package / "model_repository") == []
    assert (package / "model_repository/tiny-model/warmup").is_dir()


def test_in_process_is_one_model_and_needs_the_runtime_beside_the_server(tmp_path: Path) -> None:
    serving = replace(SERVING, front="in_process")
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec(), serving)
    assert [path.name for path in (package / "model_repository").iterdir()] == ["tiny"]
    assert lint_repository(package / "model_repository") == []
    assert "--no-deps tokenizers==" in (package / "Dockerfile").read_text()
    assert " onnxruntime==" in (package / "Dockerfile").read_text()
    assert (
        "Its Python model needs tokenizers and onnxruntime, installed with pip" in (package / "README.md").read_text()
    )
    assert "text to answer in one process" in (package / "README.md").read_text()


ON_GPU = Candidate("onnxruntime-cuda-fp16-fused", "onnxruntime-cuda", "fp16", (LENGTHS,), session=GRAPH)


@pytest.fixture
def gpu_runtime(monkeypatch: pytest.MonkeyPatch) -> OnnxRuntimeCuda:
    """As on a machine that has onnxruntime-gpu."""
    monkeypatch.setattr(onnxruntime_cuda, "version", lambda name: "1.26.0")
    return OnnxRuntimeCuda()


def test_on_a_gpu_the_graph_alone_is_there(tmp_path: Path, gpu_runtime: OnnxRuntimeCuda) -> None:
    source = make_text_source(tmp_path / "source")
    package = write(tmp_path / "package", source, make_target_spec(), SERVING, ON_GPU, gpu_runtime)
    repository = package / "model_repository"
    assert lint_repository(repository) == []
    kinds = {path.parent.name: re.findall(r"KIND_\w+", path.read_text()) for path in repository.glob("*/config.pbtxt")}
    assert kinds == {"tiny": [], "tiny-model": ["KIND_GPU"], "tiny-tokenizer": ["KIND_CPU"]}
    assert "count: 3" in (repository / "tiny-model" / "config.pbtxt").read_text(), "the third call records a graph"
    assert "onnxruntime-gpu" not in (package / "Dockerfile").read_text(), "Triton's own backend serves it"
    check_golden("package/compose_gpu.yaml", (package / "compose.yaml").read_text())
    readme = (package / "README.md").read_text()
    assert "`docker run --gpus 1`" in readme
    assert "Triton's native backend" in readme
    assert "padding must come last" not in readme, "the packed tokenizer pads"


def test_a_plan_without_cuda_graphs_records_none(tmp_path: Path, gpu_runtime: OnnxRuntimeCuda) -> None:
    source, serving = make_text_source(tmp_path / "source"), replace(SERVING, cuda_graphs=False)
    package = write(tmp_path / "package", source, make_target_spec(), serving, ON_GPU, gpu_runtime)
    config = (package / "model_repository" / "tiny-model" / "config.pbtxt").read_text()
    assert GRAPH_PARAMETER not in config
    together = replace(serving, front="in_process")
    package = write(tmp_path / "one", source, make_target_spec(), together, ON_GPU, gpu_runtime)
    assert '"graph\\": false' in (package / "model_repository" / "tiny" / "config.pbtxt").read_text()


def test_in_process_on_a_gpu_brings_its_onnxruntime(tmp_path: Path, gpu_runtime: OnnxRuntimeCuda) -> None:
    source, serving = make_text_source(tmp_path / "source"), replace(SERVING, front="in_process")
    package = write(tmp_path / "package", source, make_target_spec(), serving, ON_GPU, gpu_runtime)
    assert lint_repository(package / "model_repository") == []
    assert "KIND_GPU" in (package / "model_repository" / "tiny" / "config.pbtxt").read_text()
    assert find_requirements(package / "model_repository") == ("onnxruntime-gpu[cuda,cudnn]==1.26.0",)
    assert 'pip install --no-cache-dir "onnxruntime-gpu[cuda,cudnn]==1.26.0"' in (package / "Dockerfile").read_text()
    model = (package / "model_repository" / "tiny" / "1" / "model.py").read_text()
    ast.parse(model)
    assert "for _ in range(3):" in model
    readme = (package / "README.md").read_text()
    assert "AOTInductor" not in readme
    assert "tokenizers and onnxruntime-gpu[cuda,cudnn]==1.26.0" in readme


def test_clients_that_make_masks_are_told_where_padding_goes(tmp_path: Path, gpu_runtime: OnnxRuntimeCuda) -> None:
    source = make_text_source(tmp_path / "source")
    sample = make_token_sample([2, 4, 3])
    answers = [{source.answer: run_graph(source, sample)[source.answer]}]
    write_package(
        tmp_path,
        spec=make_target_spec(),
        source=source,
        model=source.graph,
        candidate=ON_GPU,
        runtime=gpu_runtime,
        serving=SERVING,
        warmup=[],
        golden=GoldenSet("none", answers, answers, tensors=(sample,)),
        versions={},
    )
    assert "padding must come last" in (tmp_path / "README.md").read_text()


def test_no_warmup(tmp_path: Path) -> None:
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec(warmup=False))
    assert not list(package.glob("model_repository/*/warmup"))


def test_an_artifact_with_other_tensors_is_not_packaged(tmp_path: Path) -> None:
    source = make_text_source(tmp_path / "source")
    wrong = replace(source, outputs=(TensorSpec("sentence_embedding", "float16", ("batch", 8)),))
    with pytest.raises(PackError, match=r'"sentence_embedding" is TYPE_FP32 in 1/model\.onnx, not TYPE_FP16'):
        write(tmp_path / "package", wrong, make_target_spec())


PROFILE = "input_ids=1x1/1x3/4x16 attention_mask=1x1/1x3/4x16"
ENGINE = Candidate(
    "tensorrt-fp16", "tensorrt", "fp16", (), PassStep("tensorrt", {"profiles": (PROFILE,)}), session=GRAPH
)


def test_an_engine_is_served_by_triton_itself_with_the_types_of_its_border(tmp_path: Path) -> None:
    source = make_text_source(tmp_path / "source")
    plan = write_engine(tmp_path / "engine", make_stamp(source.inputs, source.outputs, [PROFILE]))
    package = write(tmp_path / "package", source, make_target_spec(), SERVING, ENGINE, TensorRt(), plan)
    repository = package / "model_repository"
    assert lint_repository(repository) == []
    assert sorted(path.name for path in (repository / "tiny-model" / "1").iterdir()) == ["model.json", "model.plan"]
    check_golden("package/tensorrt.pbtxt", (repository / "tiny-model" / "config.pbtxt").read_text())
    tokenizer = (repository / "tiny-tokenizer" / "config.pbtxt").read_text()
    assert "TYPE_INT32" in tokenizer
    assert "TYPE_INT64" not in tokenizer
    assert "int32" in (repository / "tiny-tokenizer" / "1" / "model.py").read_text()
    assert find_requirements(repository) == ("tensorrt==8.6.0",)
    readme = " ".join((package / "README.md").read_text().split())
    assert "an engine of TensorRT 8.6.0 for NVIDIA H200 (compute capability 9.0), Linux x86_64" in readme
    assert PROFILE in readme
    assert "tensorrt" not in (package / "Dockerfile").read_text(), "Triton's own backend serves it"


@pytest.mark.parametrize(
    ("options", "sentence", "brings_code"),
    [
        ({}, "It loads in that very version of TensorRT and on that GPU:", False),
        ({"hardware_compatible": "ampere_plus"}, "very version of TensorRT and on GPUs of Ampere and later:", False),
        (
            {"version_compatible": True, "hardware_compatible": "same_compute_capability"},
            "version-compatible=true`, and on GPUs of compute capability 9.0:",
            True,
        ),
    ],
)
def test_where_an_engine_loads_is_told_and_its_server_let(
    tmp_path: Path, options: dict[str, object], sentence: str, brings_code: bool
) -> None:
    source = make_text_source(tmp_path / "source")
    plan = write_engine(tmp_path / "engine", make_stamp(source.inputs, source.outputs, [PROFILE], options=options))
    package = write(tmp_path / "package", source, make_target_spec(), SERVING, ENGINE, TensorRt(), plan)
    readme = (package / "README.md").read_text()
    assert sentence in " ".join(readme.split())
    flag = "--backend-config=tensorrt,version-compatible=true"
    command = next(line for line in readme.splitlines() if line.startswith("    tritonserver "))
    assert [flag in text for text in ((package / "Dockerfile").read_text(), command)] == [brings_code] * 2


def test_an_engine_of_two_profiles_serves_both(tmp_path: Path) -> None:
    source = make_text_source(tmp_path / "source")
    profiles = (PROFILE.replace("4x16", "1x3"), PROFILE)
    engine = replace(ENGINE, build=PassStep("tensorrt", {"profiles": profiles}))
    plan = write_engine(tmp_path / "engine", make_stamp(source.inputs, source.outputs, profiles))
    package = write(tmp_path / "package", source, make_target_spec(), SERVING, engine, TensorRt(), plan)
    config = (package / "model_repository" / "tiny-model" / "config.pbtxt").read_text()
    assert ('profile: "0"' in config, 'profile: "1"' in config) == (True, True)


def test_an_engine_that_takes_smaller_batches_than_the_server_is_refused(tmp_path: Path) -> None:
    source = make_text_source(tmp_path / "source")
    small = PROFILE.replace("4x16", "2x16")
    plan = write_engine(tmp_path / "engine", make_stamp(source.inputs, source.outputs, [small]))
    with pytest.raises(PackError, match="take batches up to 2"):
        write(tmp_path / "package", source, make_target_spec(), SERVING, ENGINE, TensorRt(), plan)
