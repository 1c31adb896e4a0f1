"""One repository for several GPUs: which server finds which artifact, and how."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import make_stamp, write_engine
from gpu_packages import GRAPH, write_gpu_repository
from packc.errors import PackError
from packc.package.combine import (
    Bundle,
    LeftOut,
    Part,
    Placed,
    combine_repository,
    find_artifact,
    name_artifact,
)
from packc.package.lint import lint_repository
from packc.package.model_config import add_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import FileContent, TritonModel, write_models
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.runtime import GRAPH_PARAMETER
from packc.runtimes.tensorrt import TensorRt
from served_packages import X, Y, make_scaling_graph, read_config, write_tensor_package, write_text_package


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_gpu_repository(tmp_path / "base", 2.0)


def read_named(repository: Path, target: str) -> Any:
    """configs/<target>.pbtxt of the one model."""
    (repository / "tiny" / "other").mkdir(exist_ok=True)
    place = repository / "tiny" / "other" / "config.pbtxt"
    place.write_text((repository / "tiny" / "configs" / f"{target}.pbtxt").read_text())
    config = read_config(place.parent)
    place.unlink()
    place.parent.rmdir()
    return config


def list_files(repository: Path) -> list[str]:
    return sorted(path.name for path in (repository / "tiny" / "1").iterdir())


def test_another_artifact_is_found_by_the_compute_capability(base: Path, tmp_path: Path) -> None:
    part = Part("a100", "8.0", write_gpu_repository(tmp_path / "a100", 3.0))
    assert combine_repository(base, "9.0", [part]) == [Placed("a100", "model.a100.onnx", "compute capability")]
    config = read_config(base / "tiny")
    assert dict(config.cc_model_filenames) == {"8.0": "model.a100.onnx"}
    assert config.default_model_filename == "model.onnx", "the base's is the fallback of all other GPUs"
    assert list_files(base) == ["model.a100.onnx", "model.onnx"]
    assert not (base / "tiny" / "configs").exists()
    assert lint_repository(base) == []


def test_the_same_artifact_lies_there_once(base: Path, tmp_path: Path) -> None:
    parts = [
        Part("a100", "8.0", write_gpu_repository(tmp_path / "a100", 2.0)),
        Part("l4", "8.9", write_gpu_repository(tmp_path / "l4", 3.0)),
        Part("l40s", "8.9", write_gpu_repository(tmp_path / "l40s", 3.0)),
        Part("ada", "8.9", write_gpu_repository(tmp_path / "ada", 2.0)),
    ]
    assert combine_repository(base, "9.0", parts) == [
        Placed("a100", "model.onnx", "default"),
        Placed("l4", "model.l4.onnx", "compute capability"),
        Placed("l40s", "model.l4.onnx", "compute capability"),
        Placed("ada", "model.onnx", "config name"),
    ]
    assert list_files(base) == ["model.l4.onnx", "model.onnx"]
    assert read_named(base, "ada").default_model_filename == "model.onnx"


def test_a_target_that_is_told_by_name_has_a_configuration_even_where_it_equals_the_first_ones(
    base: Path, tmp_path: Path
) -> None:
    """The map names another file for its capability, which a configuration of its own does not read."""
    same = make_scaling_graph(tmp_path / "job" / "model.onnx", 2.0)
    parts = [
        Part("l4", "8.9", write_gpu_repository(tmp_path / "l4", 3.0)),
        Part("l40s", "8.9", Bundle(same, GRAPH, OnnxRuntimeCuda(), 1)),
    ]
    assert combine_repository(base, "9.0", parts)[1] == Placed("l40s", "model.onnx", "config name")
    own = read_named(base, "l40s")
    assert (own.default_model_filename, dict(own.cc_model_filenames)) == ("model.onnx", {})
    assert dict(read_config(base / "tiny").cc_model_filenames) == {"8.9": "model.l4.onnx"}
    assert lint_repository(base) == []


def test_a_gpu_of_the_same_capability_has_a_configuration_of_its_own(base: Path, tmp_path: Path) -> None:
    part = Part("h100", "9.0", write_gpu_repository(tmp_path / "h100", 3.0))
    assert combine_repository(base, "9.0", [part]) == [Placed("h100", "model.h100.onnx", "config name")]
    own = read_named(base, "h100")
    assert (own.name, own.default_model_filename) == ("", "model.h100.onnx")
    assert dict(read_config(base / "tiny").cc_model_filenames) == {}
    assert lint_repository(base) == []


def test_what_differs_in_more_than_the_file_does_too(base: Path, tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    part = Part("l4", "8.9", write_gpu_repository(tmp_path / "l4", 3.0, options={}, instances=2, warmup={"x": x}))
    assert combine_repository(base, "9.0", [part]) == [Placed("l4", "model.l4.onnx", "config name")]
    own = read_named(base, "l4")
    assert own.instance_group[0].count == 2
    assert GRAPH_PARAMETER not in own.parameters
    assert own.model_warmup[0].inputs["x"].input_data_file == "l4_median_0.bin"
    assert (base / "tiny" / "warmup" / "l4_median_0.bin").read_bytes() == x.tobytes()
    assert lint_repository(base) == []


def test_a_warm_up_that_is_the_same_is_shared(tmp_path: Path) -> None:
    sample = {"x": np.ones((1, 4), np.float32)}
    base = write_gpu_repository(tmp_path / "base", 2.0, warmup=sample)
    part = Part("l4", "8.9", write_gpu_repository(tmp_path / "l4", 3.0, warmup=sample))
    assert combine_repository(base, "9.0", [part]) == [Placed("l4", "model.l4.onnx", "compute capability")]
    assert [path.name for path in (base / "tiny" / "warmup").iterdir()] == ["median_0.bin"]


def test_what_was_only_built_is_served_as_the_base_is(tmp_path: Path) -> None:
    base = write_gpu_repository(tmp_path / "base", 2.0, instances=2)
    graph = make_scaling_graph(tmp_path / "job" / "model.onnx", 3.0)
    parts = [
        Part("t4", "7.5", Bundle(graph, GRAPH, OnnxRuntimeCuda(), 1)),
        Part("v100", "7.0", Bundle(graph, {"nhwc": True}, OnnxRuntimeCuda(), 1)),
    ]
    assert combine_repository(base, "9.0", parts) == [
        Placed("t4", "model.t4.onnx", "compute capability"),
        Placed("v100", "model.t4.onnx", "config name"),
    ]
    own = read_named(base, "v100")
    assert own.instance_group[0].count == 2
    (accelerator,) = own.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, accelerator.parameters["prefer_nhwc"]) == ("cuda", "1")
    assert GRAPH_PARAMETER not in own.parameters


def test_what_does_not_fit_is_left_out_with_a_reason(base: Path, tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"")
    ensemble = write_text_package(tmp_path / "text") / "model_repository"
    parts = [Part("l4", "8.9", ensemble), Part("t4", "7.5", Bundle(plan, {}, OnnxRuntimeCuda(), 1))]
    fronts, backends = combine_repository(base, "9.0", parts)
    assert isinstance(fronts, LeftOut)
    assert "it is served by other models (letters, " in fronts.reason
    assert backends == LeftOut("t4", "its artifact is not for the backend of the first target, onnxruntime")
    assert list_files(base) == ["model.onnx"]


def make_large_graph(path: Path, scale: float, location: str = "model.onnx.data") -> Path:
    """The scaling graph with its weights in a file beside it, and equal but for these."""
    import onnx

    graph = onnx.load(make_scaling_graph(path, scale))
    (weights,) = graph.graph.initializer
    weights.raw_data = np.array([scale], np.float32).tobytes()
    weights.ClearField("float_data")
    onnx.save_model(graph, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def answer(graph: Path) -> float:
    """What the scaling graph makes of ones."""
    import onnxruntime as ort

    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: np.ones((1, 4), np.float32)})
    return float(y[0, 0])


def test_weights_beside_a_graph_lie_there_once_or_under_a_name_of_the_target(tmp_path: Path) -> None:
    """Which file its weights are in is written in a graph: the graphs are equal, and the answers are not."""
    base = write_gpu_repository(tmp_path / "base", 2.0)
    for file in make_large_graph(tmp_path / "first" / "model.onnx", 2.0).parent.iterdir():
        shutil.copyfile(file, base / "tiny" / "1" / file.name)
    graphs = {
        target: make_large_graph(tmp_path / target / "model.onnx", scale)
        for target, scale in {"same": 2.0, "l4": 3.0, "l40s": 3.0}.items()
    }
    bundles = {target: Bundle(graph, GRAPH, OnnxRuntimeCuda(), 1) for target, graph in graphs.items()}
    parts = [Part("same", "8.0", bundles["same"]), Part("l4", "8.9", bundles["l4"]), Part("t4", "7.5", bundles["l40s"])]
    assert combine_repository(base, "9.0", parts) == [
        Placed("same", "model.onnx", "default"),
        Placed("l4", "model.l4.onnx", "compute capability"),
        Placed("t4", "model.l4.onnx", "compute capability"),
    ]
    version = base / "tiny" / "1"
    assert list_files(base) == ["model.l4.onnx", "model.onnx", "model.onnx.data", "model.onnx.l4.data"]
    assert (answer(version / "model.onnx"), answer(version / "model.l4.onnx")) == (2.0, 3.0)
    assert lint_repository(base) == []


def test_weights_with_the_name_of_their_graph_are_found_by_the_name_in_it(base: Path, tmp_path: Path) -> None:
    model = make_large_graph(tmp_path / "l4" / "model.onnx", 3.0, "model.bin")
    combine_repository(base, "9.0", [Part("l4", "8.9", Bundle(model, GRAPH, OnnxRuntimeCuda(), 1))])
    assert list_files(base) == ["model.bin", "model.l4.onnx", "model.onnx"]
    assert answer(base / "tiny" / "1" / "model.l4.onnx") == 3.0


def test_another_graph_shares_weights_that_are_the_same(base: Path, tmp_path: Path) -> None:
    import onnx

    for file in make_large_graph(tmp_path / "first" / "model.onnx", 2.0).parent.iterdir():
        shutil.copyfile(file, base / "tiny" / "1" / file.name)
    model = make_large_graph(tmp_path / "l4" / "model.onnx", 2.0)
    graph = onnx.load(model, load_external_data=False)
    graph.producer_name = "for the L4"
    model.write_bytes(graph.SerializeToString())
    part = Part("l4", "8.9", Bundle(model, GRAPH, OnnxRuntimeCuda(), 1))
    assert combine_repository(base, "9.0", [part]) == [Placed("l4", "model.l4.onnx", "compute capability")]
    assert list_files(base) == ["model.l4.onnx", "model.onnx", "model.onnx.data"]
    assert answer(base / "tiny" / "1" / "model.l4.onnx") == 2.0


def write_engines(folder: Path) -> Path:
    """A repository of one engine of TensorRT with two optimization profiles."""
    profiles = ("x=1x4/1x4/8x4", "x=1x4/8x4/8x4")
    plan = write_engine(folder.parent / f"{folder.name}-engine", make_stamp((X,), (Y,), profiles))
    config = new_config("tiny", 8)
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    add_instances(config, 1, "gpu")
    TensorRt().configure_triton(config, {"graph": True, "profiles": profiles, "tensorrt": "8.6.0"}, 1)
    files: dict[str, FileContent] = {"1/model.plan": plan, "1/model.json": plan.with_suffix(".json")}
    write_models((TritonModel(config, files),), folder)
    return folder


def test_an_engine_that_is_still_to_be_built_on_its_gpu_is_asked_for(tmp_path: Path) -> None:
    base = write_engines(tmp_path / "base")
    graph = make_scaling_graph(tmp_path / "job" / "model.onnx", 2.0)
    part = Part("l4", "8.9", Bundle(graph, {"graph": True}, TensorRt(), 1))
    assert combine_repository(base, "9.0", [part]) == [
        LeftOut("l4", "its engine is built on the GPU: run its bundle there and `pack import` it")
    ]


def test_profiles_are_those_of_the_engine_that_is_served(tmp_path: Path) -> None:
    base = write_engines(tmp_path / "base")
    profiles = ("x=1x4/2x4/8x4", "x=1x4/4x4/8x4", "x=1x4/8x4/8x4")
    engine = write_engine(tmp_path / "l4", make_stamp((X,), (Y,), profiles))
    engine.write_bytes(b"another engine")
    bundle = Bundle(engine, {"graph": True, "profiles": profiles, "tensorrt": "8.6.0"}, TensorRt(), 1)
    assert combine_repository(base, "9.0", [Part("l4", "8.9", bundle)]) == [
        Placed("l4", "model.l4.plan", "config name")
    ]
    assert list(read_config(base / "tiny").instance_group[0].profile) == ["0", "1"]
    assert list(read_named(base, "l4").instance_group[0].profile) == ["0", "1", "2"]


def test_steps_beside_the_graph_have_to_be_the_same(tmp_path: Path) -> None:
    base = write_text_package(tmp_path / "base") / "model_repository"
    same = write_text_package(tmp_path / "same", scale=3.0) / "model_repository"
    other = write_text_package(tmp_path / "other", scale=3.0) / "model_repository"
    source = other / "letters-tokenizer" / "1" / "model.py"
    source.write_text(source.read_text().replace("float32", "float16"))
    assert combine_repository(base, "9.0", [Part("same", "8.9", same), Part("other", "8.0", other)]) == [
        Placed("same", "model.same.onnx", "compute capability"),
        LeftOut("other", "its letters-tokenizer/1/model.py is not the first target's"),
    ]


def test_python_models_name_their_artifact_in_a_parameter() -> None:
    config = new_config("tiny", 8)
    config.backend = "python"
    assert name_artifact(config) == "", "a tokenizer runs none"
    config.parameters["engine_options"].string_value = "{}"
    config.parameters["model"].string_value = "model.pt2"
    assert name_artifact(config) == "model.pt2"
    name_artifact(config, "model.l4.pt2")
    assert config.parameters["model"].string_value == "model.l4.pt2"


def write_engine_repository(folder: Path, scale: float, source: str = "class TritonPythonModel: ...") -> Path:
    """One Python model that runs its graph with an engine, as a front in one process does."""
    config = new_config("tiny", 8)
    config.backend = "python"
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    config.parameters["engine_options"].string_value = "{}"
    config.parameters["model"].string_value = "model.onnx"
    graph = make_scaling_graph(folder.parent / f"{folder.name}-graph" / "model.onnx", scale)
    files: dict[str, FileContent] = {"1/model.onnx": graph, "1/model.py": source, "1/engine.py": ""}
    write_models((TritonModel(config, files),), folder)
    return folder


def test_python_models_have_a_configuration_for_each_artifact(tmp_path: Path) -> None:
    base = write_engine_repository(tmp_path / "base", 2.0)
    graph = make_scaling_graph(tmp_path / "job" / "model.onnx", 2.0)
    parts = [
        Part("a100", "8.0", write_engine_repository(tmp_path / "a100", 2.0)),
        Part("l4", "8.9", write_engine_repository(tmp_path / "l4", 3.0)),
        Part("t4", "7.5", Bundle(graph, {"tf32": False}, OnnxRuntimeCuda(), 1)),
        Part("odd", "8.6", write_engine_repository(tmp_path / "odd", 2.0, "class TritonPythonModel: pass")),
    ]
    assert combine_repository(base, "9.0", parts) == [
        Placed("a100", "model.onnx", "default"),
        Placed("l4", "model.l4.onnx", "config name"),
        Placed("t4", "model.onnx", "config name"),
        LeftOut("odd", "its tiny/1/model.py is not the first target's"),
    ]
    assert read_named(base, "l4").parameters["model"].string_value == "model.l4.onnx"
    assert read_named(base, "t4").parameters["engine_options"].string_value == '{"tf32": false}'
    assert not [found.message for found in lint_repository(base) if "missing" in found.message]


def test_one_model_runs_the_graph(tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "package")
    assert find_artifact(package / "model_repository").name == "model.onnx"
    twice = write_gpu_repository(tmp_path / "twice", 2.0)
    (twice / "tiny").rename(twice / "one")
    write_gpu_repository(tmp_path / "other", 2.0)
    (tmp_path / "other" / "tiny").rename(twice / "two")
    with pytest.raises(PackError, match="one model should run the compiled graph, and 2 do: one, two"):
        combine_repository(twice, "9.0", [])
