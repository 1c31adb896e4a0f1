from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from gpu_driver import H200
from packc.candidate import Candidate, PassStep
from packc.ingest.source import Geometry
from packc.package.model_config import add_instances, new_config
from packc.passes import PASSES, find_pass
from packc.passes.lower_opset import FROM
from packc.runtimes import STAND_INS, find_runtime, tensorrt
from packc.runtimes.tensorrt import LOWERABLE, TACTICS, TensorRt, write_profiles
from packc.runtimes.tensorrt_profiles import choose_profile, read_profile
from packc.runtimes.tensorrt_python import VARIABLE
from packc.spec.optimize import TensorRtSection
from packc.tensors import InputRange, Precision
from sources import device, source_info
from tensorrt_python import write_tensorrt_python

BERT = source_info("sentence-similarity", Geometry(layers=12, heads=12, hidden=768, ffn=3072))
RESNET = source_info("image-classification", None)
GPU: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")
HERE = device("cuda", GPU)
ELSEWHERE = replace(HERE, is_here=False)
IDS = InputRange("ids", (1, 1), ((1, 32), (4, 64)), (8, 128))
FIXED = InputRange("scale", (1,), ((1,), (1,)), (1,))
SCALAR = InputRange("limit", (), ((), ()), ())


@pytest.fixture(params=[("8.6.0", 8), ("10.16.1.11", 10)], ids=["weak", "strong"])
def version(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As where the named Python has this TensorRT."""
    found, dialect = request.param
    monkeypatch.setenv(VARIABLE, str(write_tensorrt_python(tmp_path / "trtpy", found, dialect)))
    return str(found)


weak = pytest.mark.parametrize("version", [("8.6.0", 8)], indirect=True)
strong = pytest.mark.parametrize("version", [("10.16.1.11", 10)], indirect=True)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/python")


def offer(info: object = BERT, target: object = HERE) -> dict[str, Candidate]:
    offered, _ = TensorRt().candidates(info, target, GPU)  # type: ignore[arg-type]
    return {c.precision: c for c in offered}


@weak
def test_what_the_parser_does_not_read_is_lowered_and_bf16_refused(version: str) -> None:
    offered, refused = TensorRt().candidates(BERT, HERE, GPU)
    assert [c.precision for c in offered] == ["tf32", "fp32", "fp16", "int8"]
    assert all(str(c.passes[2]) == "lower_opset[opset=17]" for c in offered)
    reasons = {r.what: r.reason for r in refused}
    assert reasons == {
        "tensorrt-bf16": "TensorRT 8.6.0 has no such networks: TensorRT 10 and later have",
        "tensorrt-fp8": "pack has no recipe for it with TensorRT",
    }


@weak
def test_a_builder_that_casts_by_itself_does_so_for_all_but_transformers(version: str) -> None:
    casts = {name: [str(step) for step in offer(info)["fp16"].passes if step.name == "cast_fp16"]
             for name, info in (("bert", BERT), ("resnet", RESNET))}  # fmt: skip
    assert casts == {"bert": ["cast_fp16"], "resnet": []}
    (elsewhere,) = (c for c in TensorRt().candidates(RESNET, ELSEWHERE, ("fp16",))[0])
    assert PassStep("cast_fp16") in elsewhere.passes, "whose builder is not known"


@strong
def test_where_the_graph_alone_says_types_it_has_the_casts(version: str) -> None:
    assert PassStep("cast_fp16") in offer(RESNET)["fp16"].passes


@weak
def test_newer_graphs_than_can_be_lowered_need_another_tensorrt(version: str) -> None:
    offered, (refused,) = TensorRt().candidates(replace(BERT, opset=20), HERE, GPU)
    assert offered == ()
    assert (refused.what, refused.reason) == (
        "tensorrt",
        "TensorRT 8.6.0 cannot read a graph of opset 20, and pack lowers 18 at most: export it with opset_version=18, "
        "or use TensorRT 10 or later",
    )
    assert FROM == LOWERABLE
    assert TensorRt().candidates(replace(BERT, opset=18), HERE, GPU)[0]


def test_newer_graphs_go_to_the_newer_tensorrt_of_a_device_elsewhere(nowhere: None) -> None:
    newer = replace(BERT, opset=20)
    offered, refused = TensorRt().candidates(newer, ELSEWHERE, GPU)
    assert not any(step.name == "lower_opset" for c in offered for step in c.passes)
    assert "tensorrt before 10" in {rejection.what for rejection in refused}
    assert (TensorRt().require(newer), TensorRt().require(BERT)) == ("tensorrt>=10", "tensorrt>=8.6")


@strong
def test_newer_parsers_read_fused_operators(version: str) -> None:
    fused = ["clean_graph", "fuse_layer_norm", "fuse_gelu", "plain_mask", "cast_fp16"]
    assert [step.name for step in offer()["fp16"].passes] == fused
    assert [step.name for step in offer(RESNET)["bf16"].passes] == ["clean_graph", "cast_bf16"]


def test_the_precision_is_in_the_graph_and_the_builder_is_told(version: str) -> None:
    for precision, candidate in offer().items():
        assert candidate.build is not None
        assert dict(candidate.build.options) == {"precision": precision}
        assert candidate.session == {"graph": True}
    assert "quantize_static[symmetric=True]" in map(str, offer()["int8"].passes)


def test_passes_exist_and_keep_their_order(version: str) -> None:
    order = [graph_pass.name for graph_pass in PASSES]
    for target in (HERE, ELSEWHERE):
        for candidate in offer(target=target).values():
            places = [order.index(step.name) for step in candidate.passes]
            assert places == sorted(places)
            assert all(set(step.options) <= set(find_pass(step.name).options) for step in candidate.passes)


def test_elsewhere_the_adapter_builds_from_what_every_parser_reads(nowhere: None) -> None:
    fp16 = offer(target=ELSEWHERE)["fp16"]
    assert fp16.build is None
    assert fp16.session == {"graph": True, "precision": "fp16"}
    assert [step.name for step in fp16.passes] == [
        "clean_graph",
        "plain_mask",
        "lower_opset",
        "cast_fp16",
        "sum_in_fp32",
    ]
    assert "bf16" in offer(target=ELSEWHERE), "the device may have a newer TensorRT"


def test_here_it_needs_tensorrt(nowhere: None) -> None:
    offered, (refused,) = TensorRt().candidates(BERT, HERE, GPU)
    assert not offered
    assert refused.reason.endswith("/nowhere/python, which cannot be run: name a Python that has tensorrt")
    assert TensorRt().versions() == {}


def test_jetsons_have_it_and_cpus_do_not(version: str) -> None:
    assert TensorRt().candidates(BERT, device("jetson", GPU), GPU)[0]
    assert TensorRt().candidates(BERT, device("cpu"), GPU) == ((), ())


def test_one_profile_takes_all_shapes() -> None:
    assert write_profiles([IDS, FIXED], "one") == ("ids=1x1/1x32/8x128 scale=1/1/1",)


def test_each_case_has_a_profile_that_takes_all_shapes() -> None:
    assert write_profiles([IDS], "per_case") == ("ids=1x1/1x32/8x128", "ids=1x1/4x64/8x128")


def test_cases_that_differ_in_the_batch_alone_have_their_shapes_for_themselves() -> None:
    pixels = InputRange("pixels", (1, 3, 8, 8), ((1, 3, 8, 8), (4, 3, 8, 8)), (16, 3, 8, 8))
    assert write_profiles([pixels], "per_case") == (
        "pixels=1x3x8x8/1x3x8x8/1x3x8x8",
        "pixels=4x3x8x8/4x3x8x8/4x3x8x8",
        "pixels=1x3x8x8/4x3x8x8/16x3x8x8",
    )
    assert write_profiles([pixels], "one") == ("pixels=1x3x8x8/1x3x8x8/16x3x8x8",)
    same = replace(pixels, cases=((4, 3, 8, 8), (4, 3, 8, 8)))
    assert write_profiles([same], "per_case") == ("pixels=4x3x8x8/4x3x8x8/4x3x8x8", "pixels=1x3x8x8/4x3x8x8/16x3x8x8")


def test_what_requests_seldom_hit_has_no_profile_for_itself() -> None:
    texts = InputRange("ids", (1, 1), ((1, 128), (32, 128)), (32, 512))
    profiles = write_profiles([texts], "per_case")
    assert profiles == ("ids=1x1/1x128/32x512", "ids=1x1/32x128/32x512")
    ranges = [read_profile(profile, {"ids": (-1, -1)}) for profile in profiles]
    tuned = {shape: ranges[choose_profile(ranges, {"ids": shape})]["ids"][1] for shape in ((1, 40), (1, 128), (9, 60))}
    assert tuned == {(1, 40): (1, 128), (1, 128): (1, 128), (9, 60): (32, 128)}


def test_an_open_axis_that_has_one_size_in_all_cases_is_open_still() -> None:
    """Of other tensors than texts, nothing is known but the sizes in the evaluation data: cases have the middle one."""
    sound = InputRange("sound", (1, 10, 80), ((1, 50, 80), (16, 50, 80)), (16, 100, 80))
    assert write_profiles([sound, FIXED], "per_case") == (
        "sound=1x10x80/1x50x80/16x100x80 scale=1/1/1",
        "sound=1x10x80/16x50x80/16x100x80 scale=1/1/1",
    )


@pytest.mark.parametrize("how", ["one", "per_case"])
def test_an_open_axis_of_one_size_has_a_profile_too(how: Literal["one", "per_case"]) -> None:
    assert write_profiles([FIXED, SCALAR], how) == ("scale=1/1/1",)


def test_shapes_and_settings_reach_the_builder_wherever_it_runs(version: str) -> None:
    travels = {"version_compatible": True, "hardware_compatible": "ampere_plus"}
    settings = TensorRtSection(profiles="one", level=5, **travels)  # type: ignore[arg-type]
    told = {"profiles": ("ids=1x1/1x32/8x128",), "level": 5, **travels}
    here = TensorRt().fit_shapes(offer()["fp16"], [IDS], settings)
    assert here.build is not None
    assert here.build.options == {"precision": "fp16", **told}
    there = TensorRt().fit_shapes(offer(target=ELSEWHERE)["fp16"], [IDS], settings)
    assert there.session == {"graph": True, "precision": "fp16", **told}
    plain = TensorRt().fit_shapes(offer()["fp16"], [FIXED], TensorRtSection())
    assert plain.build is not None
    assert plain.build.options == {"precision": "fp16", "profiles": ("scale=1/1/1",)}


@weak
def test_jobs_run_in_the_python_that_has_it(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: H200)
    monkeypatch.delenv(TACTICS, raising=False)
    runtime = TensorRt()
    assert runtime.python == tmp_path / "trtpy"
    assert runtime.versions() == {"tensorrt": "8.6.0"}
    assert runtime.compiler_versions() == {
        "gpu": "NVIDIA H200",
        "compute capability": "9.0",
        "driver": "570.86.15",
    }
    monkeypatch.setenv(TACTICS, "JIT_CONVOLUTIONS")
    assert runtime.compiler_versions()["tactics"] == "JIT_CONVOLUTIONS"


def test_a_cpu_stands_in_elsewhere() -> None:
    assert find_runtime(STAND_INS["tensorrt"]).device == "cpu"


def test_a_server_is_told_profiles_and_version() -> None:
    built = replace(offer(target=ELSEWHERE)["fp16"], build=PassStep("tensorrt", {"profiles": ("ids=1x1/1x32/8x128",)}))
    options = TensorRt().job_options(replace(built, session={"graph": True}), 1)
    assert options == {"graph": True, "profiles": ("ids=1x1/1x32/8x128",)}
    config = new_config("m", 8)
    add_instances(config, 1, "gpu")
    TensorRt().configure_triton(config, {**options, "graph": False, "tensorrt": "8.6.0"}, 1)
    assert config.parameters["requirement"].string_value == "tensorrt==8.6.0"
    assert not config.optimization.cuda.graphs
    assert list(config.instance_group[0].profile) == []


def test_the_version_of_a_device_elsewhere_goes_before_what_is_here() -> None:
    elsewhere = TensorRt().as_measured({"tensorrt": "10.16.1.11"})
    assert elsewhere.server_requirement == "tensorrt==10.16.1.11"


@pytest.mark.parametrize(
    ("profiles", "specs"),
    [
        # cases that differ in the batch alone, as images: each has its shape, and all others the last profile
        (("x=1x3/1x3/1x3", "x=8x3/8x3/8x3", "x=1x3/8x3/8x3"), [(1, 3), (8, 3)]),
        (("x=1x3/1x3/4x3", "x=1x6/1x6/4x6"), []),
        (("x=3x3/3x3/3x3", "x=16x3/16x3/16x3"), [(3, 3)]),  # no batch of the server's is of 16
    ],
)
def test_graphs_are_of_profiles_that_take_one_shape(profiles: tuple[str, ...], specs: list[tuple[int, int]]) -> None:
    config = new_config("m", 8)
    config.dynamic_batching.preferred_batch_size.append(4)
    TensorRt().configure_triton(config, {"graph": True, "profiles": profiles}, 1)
    found = [(spec.batch_size, *spec.input["x"].dim) for spec in config.optimization.cuda.graph_spec]
    assert found == specs
    assert config.optimization.cuda.graphs == bool(specs)


def test_without_batches_a_graph_is_of_whole_shapes() -> None:
    config = new_config("m", 0)
    TensorRt().configure_triton(config, {"graph": True, "profiles": ("ids=1x32/1x32/1x32",)}, 1)
    (spec,) = config.optimization.cuda.graph_spec
    assert (spec.batch_size, list(spec.input["ids"].dim)) == (0, [1, 32])
