"""One target, from its inputs to what lies on disk."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path

import pytest

from driver_world import Way, World, snapshot
from gpu_driver import H200
from packc.candidate import Candidate
from packc.driver import target
from packc.driver.endings import BuildOptions
from packc.driver.target import drop_pointless
from packc.errors import DataError, Diagnostic, MissingError, TargetError, UsageError
from packc.gpu import Gpu, describe_gpu
from packc.host import probe_host
from packc.package.manifest_file import check_files, read_manifest
from packc.plan import Plan
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt
from packc.serving import ServingPlan
from packc.serving.choices import list_batches
from packc.target import IsaFlag, Target
from packc.target_profiles import find_target

UNVERIFIED = BuildOptions(verify=False)
TIGHT = "[budget]\nlatency_ms = 0.0001"


def test_from_a_spec_to_a_package(world: World) -> None:
    world.ways |= {"wrong": Way(error=0.5), "broken": Way(fault="crash")}
    result = world.build("[budget]\nlatency_ms = 5000")
    assert (result.end, result.folder, result.target) == ("published", world.final, "cpu")
    manifest = read_manifest(world.final)
    assert manifest == result.manifest
    assert (manifest.state, manifest.verdict.met, manifest.verdict.chosen) == ("verified", True, "base")
    assert {c.id: c.status for c in manifest.candidates} == {
        "base": "kept",
        "wrong": "quality_missed",
        "broken": "failed",
    }
    assert manifest.served is not None
    assert manifest.serving is not None
    assert check_files(world.final, manifest) == []
    assert {"README.md", "report.html", "sbom.cdx.json", "golden", "model_repository"} <= {
        path.name for path in world.final.iterdir()
    }


def test_what_the_graph_shows_to_be_pointless_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a factory nobody knows before its export whether it has convolutions; each candidate is a bundle to run."""
    monkeypatch.setattr(target, "find_runtime", lambda name: OnnxRuntimeCuda())
    plain = Candidate("fp16", "onnxruntime-cuda", "fp16", (), session={"graph": True})
    nhwc = dataclasses.replace(plain, id="fp16-nhwc", session={"graph": True, "nhwc": True})
    plan, ingested = Plan((plain, nhwc), ()), world.ingest()
    assert drop_pointless(plan, ingested) == plan, "as far as is known"
    dense = dataclasses.replace(ingested, source=dataclasses.replace(ingested.source, has_convolutions=False))
    left = drop_pointless(plan, dense)
    assert left.candidates == (plain,)
    assert [(r.what, r.reason.split(",")[0]) for r in left.rejected] == [("fp16-nhwc", "the graph has no convolutions")]


def test_an_unchanged_build_does_nothing(world: World) -> None:
    world.build()
    before = snapshot(world.final)
    assert world.build().end == "unchanged"
    assert snapshot(world.final) == before
    assert (world.checks, world.timings, world.served) == (["base"], [["base"]], ["fp32"])


def test_figures_of_a_shared_device_make_way_for_better_ones_and_never_the_other_way(world: World) -> None:
    free = probe_host()
    shared = dataclasses.replace(free, notes=("1 process",), warnings=("1 process",))
    assert world.build(target=shared).manifest.device_notes == ("1 process",)
    assert world.build(target=shared).end == "unchanged"
    better = world.build(target=free)
    assert (better.end, better.manifest.device_notes) == ("published", ())
    assert world.build(target=shared).end == "unchanged"


def test_a_tampered_package_is_built_again_as_it_was(world: World) -> None:
    """A change in place, even: no file of the package is a link into the cache."""
    world.build()
    before = snapshot(world.final)
    for file in ("model_repository/tiny/1/model.onnx", "README.md"):
        with (world.final / file).open("r+b") as stream:
            stream.write(b"!!")
        assert world.build().end == "published"
        assert snapshot(world.final)[file] == before[file]
    assert (world.checks, world.timings) == (["base"], [["base"]]), "all of it was in the cache"


def test_a_manifest_that_cannot_be_read_is_no_obstacle(world: World) -> None:
    world.build()
    for text in ("{}", "not json"):
        (world.final / "manifest.json").write_text(text)
        assert world.build().end == "published"


def test_a_package_that_vanishes_while_it_is_looked_at_is_built_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*_: object) -> None:
        raise FileNotFoundError("model.onnx")

    world.build()
    monkeypatch.setattr(target, "check_files", vanish)
    assert world.build().end == "published"


def test_a_miss_leaves_the_good_package_and_success_removes_its_record(world: World) -> None:
    world.build()
    before = snapshot(world.final)
    missed = world.build(TIGHT)
    assert (missed.end, missed.folder) == ("budget_missed", world.missed)
    assert snapshot(world.final) == before
    assert sorted(snapshot(world.missed)) == ["manifest.json", "report.html"]
    assert world.build("[budget]\nlatency_ms = 5000").end == "published"
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


def test_a_package_with_a_miss_needs_allow_miss_every_time(world: World) -> None:
    allowing = BuildOptions(allow_miss=True)
    published = world.build(TIGHT, options=allowing)
    assert (published.end, published.manifest.verdict.met) == ("published", False)
    assert read_manifest(world.final).verdict.nearest
    assert world.build(TIGHT, options=allowing).end == "unchanged"
    assert world.build(TIGHT).end == "budget_missed"
    assert read_manifest(world.final).verdict.met is False


def test_quality_missed_and_failed(world: World) -> None:
    world.ways["base"] = Way(error=0.5)
    assert world.build().end == "quality_missed"
    world.ways["base"] = Way(fault="raise")
    failed = world.build()
    assert failed.end == "failed"
    assert any("no kernel for Attention" in reason for reason in failed.manifest.verdict.reasons)


def test_faulty_data_end_the_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DataError(Diagnostic("line 3: no text"))

    monkeypatch.setattr(target, "ingest_model", refuse)
    with pytest.raises(DataError, match="line 3"):
        world.build()
    assert not (world.folder / "build").exists()


def test_a_precision_that_the_target_lacks(world: World) -> None:
    genoa = find_target("cpu-amd-genoa", world.folder)
    with pytest.raises(TargetError, match="has no fp16"):
        world.build('[optimize]\nprecisions = ["fp16"]', target=genoa)


def test_a_missing_server_is_said_before_any_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise MissingError("there is no Triton server here")

    monkeypatch.setattr(target, "require_server", none)
    with pytest.raises(MissingError):
        world.build()
    assert world.checks == []
    with pytest.raises(UsageError, match="not the address"):
        world.build(options=BuildOptions(urls=("localhost",)))
    assert world.checks == []
    with pytest.raises(MissingError, match="no server answers at http"):
        world.build(options=BuildOptions(urls=("http://127.0.0.1:1",)))
    assert world.checks == []
    assert world.build(options=UNVERIFIED).manifest.state == "measured"


def test_a_place_that_cannot_be_taken_is_said_before_any_work(world: World) -> None:
    world.final.mkdir(parents=True)
    (world.final / "thesis.txt").touch()
    with pytest.raises(UsageError, match="not a package"):
        world.build()
    assert world.checks == []


def test_a_device_elsewhere_gets_jobs_that_were_checked_here(world: World) -> None:
    genoa = find_target("cpu-amd-genoa", world.folder)
    result = world.build(target=genoa)
    assert (result.end, result.manifest.state) == ("built", "built")
    assert result.manifest.environment["device"] == genoa.name
    assert json.loads((world.final / "job/base/job.json").read_text())["threads"] == 96
    assert (world.checks, world.timings, world.served) == (["base"], [], [])
    assert world.build(target=genoa).end == "built", "and nothing was done again"
    assert world.checks == ["base"]


def test_what_was_checked_here_counts_for_another_device(world: World, tmp_path: Path) -> None:
    world.build(options=UNVERIFIED)
    world.build(target=dataclasses.replace(find_target("cpu-amd-genoa", world.folder), isa=probe_host().isa))
    assert world.checks == ["base"]


def test_a_device_that_nothing_compiles_for_gets_a_plan(world: World) -> None:
    neuron = find_target("aws-inf2", world.folder)
    for _ in range(2):
        result = world.build(target=neuron)
        assert (result.end, result.manifest.state, result.manifest.verdict.met) == ("planned", "planned", None)
    assert world.checks == []


def test_throughput_is_left_to_the_server(world: World) -> None:
    world.served_ms = {"fp32": 0.001}
    floor = "[budget]\nthroughput_per_s = 100_000"
    assert world.build(floor).end == "published"
    assert world.build(floor, options=UNVERIFIED).end == "budget_missed"


@pytest.mark.parametrize(
    ("here", "there", "is_exact"),
    [
        (("avx2",), ("avx2", "avx512_vnni"), True),
        (("avx2",), ("asimd", "asimddp"), True),
        (("avx2",), ("avx2",), False),
        (("avx2", "avx512_vnni"), ("avx2",), False),
    ],
)
def test_answers_for_a_cpu_that_does_not_saturate_are_judged_without_saturation(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    here: tuple[IsaFlag, ...],
    there: tuple[IsaFlag, ...],
    is_exact: bool,
) -> None:
    monkeypatch.setattr(target, "probe_host", lambda: dataclasses.replace(probe_host(), isa=here))
    other = dataclasses.replace(find_target("cpu-amd-genoa", world.folder), isa=there)
    assert target.make_trial(world.gather(target=other), world.ingest(), world.cache).exact_int8 is is_exact


def test_engines_of_tensorrt_are_told_what_the_server_may_send(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "find_runtime", {"onnxruntime": OnnxRuntime(), "tensorrt": TensorRt()}.__getitem__)
    trial = world.make_trial()
    rule = ServingPlan(1, 1, 16, 0, ())
    plain, engine = Candidate("a", "onnxruntime", "fp32", ()), Candidate("b", "tensorrt", "fp32", (), session={})
    fitted = list(target.fit_shapes([plain, engine], trial, rule))
    most = max(list_batches(trial.spec, rule))
    assert fitted[0] is plain
    monkeypatch.setattr(target, "measure_ranges", lambda *_: pytest.fail("nobody needs to know"))
    assert list(target.fit_shapes([plain], trial, rule)) == [plain]
    usual = [case.batch for case in trial.cases]
    alone = (f"features={batch}x8/{batch}x8/{batch}x8" for batch in usual)
    assert fitted[1].session["profiles"] == (*alone, f"features=1x8/{usual[-1]}x8/{most}x8")


def test_figures_of_a_gpu_are_of_its_driver_and_of_who_uses_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing is found again for the same identity alone, and one with others at work is not kept."""

    def identify(gpu: Gpu, of: Target) -> tuple[str, bool]:
        monkeypatch.setattr(target, "find_gpu", lambda: gpu)
        trial = target.make_trial(world.gather(target=of), world.ingest(), world.cache)
        return trial.device, trial.is_shared

    here, gpus = (
        describe_gpu(H200),
        [
            H200,
            dataclasses.replace(H200, driver="580.95.05"),
            dataclasses.replace(H200, is_split=True),
            dataclasses.replace(H200, processes=1),
        ],
    )
    found = [identify(gpu, here) for gpu in gpus]
    assert len({device for device, _ in found}) == 4
    assert [is_shared for _, is_shared in found] == [False, False, False, True]
    assert identify(dataclasses.replace(H200, processes=2), here) == found[-1]
    elsewhere = dataclasses.replace(here, is_here=False)
    for of in (probe_host(), elsewhere):
        assert {identify(gpu, of) for gpu in gpus} == {(f"{platform.node()}: {probe_host().name}", False)}
