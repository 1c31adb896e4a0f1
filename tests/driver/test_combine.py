"""A package for several GPUs, of what their builds left."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpu_packages import FP16, TF32, change, write_built, write_measured
from packc.cache import Cache
from packc.driver import combine
from packc.driver.combine import NothingMeasured, combine_targets
from packc.driver.endings import BuildOptions, TargetResult
from packc.errors import PackError
from packc.package.manifest import Manifest, MissRecord, ServedRecord, VerdictRecord
from packc.package.manifest_file import check_files, read_manifest
from packc.runtimes.runtime import GRAPH_PARAMETER
from packc.server.verify import Verified
from packc.target_profiles import find_target
from served_packages import read_config, write_text_package

PROFILES = {"h200": "nvidia-h200-sxm", "h100": "nvidia-h100-sxm", "l4": "nvidia-l4", "t4": "nvidia-t4"}
DEFAULTS = BuildOptions()
SERVED = ServedRecord(1.0, 2.0, 900.0, 1, 100, "triton stub", 2.0, 99.0, "http", None, 0.0)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Packages that went through the server's stand-in."""
    seen: list[Path] = []

    def verify(package: Path, *_: Any, **__: Any) -> Verified:
        seen.append(package)
        return Verified(SERVED, None)

    monkeypatch.setattr(combine, "verify_package", verify)
    return seen


@pytest.fixture
def combined(tmp_path: Path, verified: list[Path]) -> Callable[..., TargetResult]:
    def make(*targets: str, here: str = "", options: BuildOptions = DEFAULTS) -> TargetResult:
        named = [(t, replace(find_target(PROFILES[t], tmp_path), is_here=t == here)) for t in targets]
        return combine_targets("fleet", named, tmp_path, options, Cache(tmp_path / "cache"))

    return make


Combined = Callable[..., TargetResult]


def ways(manifest: Manifest) -> list[tuple[str, str, str | None, str]]:
    return [(record.target, record.state, record.file, record.chosen_by) for record in manifest.combined]


def test_the_first_target_with_a_package_is_the_base(tmp_path: Path, combined: Combined, verified: list[Path]) -> None:
    write_built(tmp_path, "t4", {TF32: 2.0, FP16: 3.0})
    write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "l4", 4.0)
    result = combined("t4", "h200", "l4", here="h200")
    manifest = read_manifest(tmp_path / "fleet")
    assert (result.end, result.folder, manifest.target, manifest.state) == ("published", tmp_path / "fleet", "fleet",
                                                                           "verified")  # fmt: skip
    assert (manifest.served, len(verified)) == (SERVED, 1)
    assert ways(manifest) == [
        ("h200", "verified", "model.onnx", "default"),
        ("t4", "built", "model.t4.onnx", "compute capability"),
        ("l4", "verified", "model.l4.onnx", "compute capability"),
    ]
    h200, t4, l4 = manifest.combined
    assert (h200.candidate, t4.candidate, l4.candidate) == (FP16, FP16, FP16)
    assert (t4.latency_ms, l4.latency_ms, l4.percentile, l4.throughput_per_s) == (None, 4.0, 99.0, 500.0)
    assert [record.is_loaded for record in manifest.combined] == [True, False, False]
    assert t4.remark == "has not run on that GPU yet"
    config = read_config(tmp_path / "fleet" / "model_repository" / "tiny")
    assert dict(config.cc_model_filenames) == {"7.5": "model.t4.onnx", "8.9": "model.l4.onnx"}
    assert check_files(tmp_path / "fleet", manifest) == []


def test_everything_beside_the_repository_knows_of_all_targets(tmp_path: Path, combined: Combined) -> None:
    write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "h100", 3.0)
    write_built(tmp_path, "t4", {FP16: 2.0})
    package = combined("h200", "h100", "t4", "l4").folder
    assert {path.name for path in (package / "targets").iterdir()} == {"h200", "h100", "t4"}
    assert read_manifest(package / "targets" / "h100") == read_manifest(tmp_path / "h100")
    assert (package / "targets" / "h100" / "golden" / "answers.npz").is_file()
    assert not (package / "targets" / "t4" / "golden").exists(), "nothing was measured of it"
    readme = (package / "README.md").read_text()
    assert readme.startswith("# tiny for several GPUs: fleet\n\nA server takes ")
    assert "by itself for `h200`, `t4`." in readme.split("\n## Several GPUs\n")[0]
    assert "| verified | not loaded yet |" in readme
    assert "--model-config-name=h100" in readme
    assert "`l4` has no part in it: there is no build of it yet." in readme
    document = json.loads((package / "sbom.cdx.json").read_text())
    assert [file["name"] for file in document["components"][0]["components"]] == ["model.h100.onnx"]
    assert (package / "report.html").is_file()


def test_without_its_gpu_it_is_measured_at_most(tmp_path: Path, combined: Combined, verified: list[Path]) -> None:
    write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "l4", 4.0)
    manifest = combined("h200", "l4").manifest
    assert (manifest.state, manifest.served, verified) == ("measured", None, [])
    assert combined("h200", "l4", here="h200", options=BuildOptions(verify=False)).manifest.state == "measured"
    assert verified == []


def test_nothing_is_done_twice(tmp_path: Path, combined: Combined, verified: list[Path]) -> None:
    write_measured(tmp_path, "h200", 2.0)
    write_built(tmp_path, "t4", {FP16: 3.0})
    assert combined("h200", "t4", here="h200").end == "published"
    assert combined("h200", "t4", here="h200").end == "unchanged"
    change(tmp_path / "t4", environment={"device": "another"})
    assert combined("h200", "t4", here="h200").end == "published"
    assert len(verified) == 2


def test_all_that_the_package_tells_decides_whether_it_is_made_again(tmp_path: Path, combined: Combined) -> None:
    """A target that has no build yet is named in it, and its first target's GPU has come or gone."""
    write_measured(tmp_path, "h200", 2.0)
    assert combined("h200", "l4").end == "published"
    result = combined("h200", "l4", "t4")
    assert (result.end, [record.target for record in result.manifest.combined]) == ("published", ["h200", "l4", "t4"])
    assert [record.target for record in combined("h200", "t4").manifest.combined] == ["h200", "t4"]
    assert combined("h200", "t4").end == "unchanged"
    assert combined("h200", "t4", here="h200").manifest.state == "verified"
    assert combined("h200", "t4").end == "published"


@pytest.mark.parametrize("digest", ["of another model", ""])
def test_a_build_of_another_model_has_no_part_in_it(tmp_path: Path, combined: Combined, digest: str) -> None:
    """Its repository may look the same: models of one architecture do."""
    write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "l4", 4.0)
    write_built(tmp_path, "t4", {FP16: 4.0})
    for target in ("l4", "t4"):
        change(tmp_path / target, source_digest=digest)
    _, l4, t4 = combined("h200", "l4", "t4").manifest.combined
    assert (l4.file, l4.remark) == (None, "its build is of another model: build it again")
    assert (t4.file, t4.remark) == (l4.file, l4.remark)
    files = [path.name for path in (tmp_path / "fleet" / "model_repository" / "tiny" / "1").iterdir()]
    assert files == ["model.onnx"]


def test_builds_that_do_not_say_of_which_model_they_are_are_not_taken_for_the_same(
    tmp_path: Path, combined: Combined
) -> None:
    for target, scale in (("h200", 2.0), ("l4", 4.0)):
        write_measured(tmp_path, target, scale)
        change(tmp_path / target, source_digest="")
    assert combined("h200", "l4").manifest.combined[1].file is None


def test_promises_that_a_targets_package_misses_are_recorded(tmp_path: Path, combined: Combined) -> None:
    package = write_measured(tmp_path, "h200", 2.0)
    misses = (MissRecord(FP16, "latency_ms", 4.0, 1.0), MissRecord(TF32, "size_mib", 4.0, 1.0))
    change(package, verdict=VerdictRecord(False, FP16, ("budget missed",), misses))
    write_measured(tmp_path, "l4", 4.0)
    assert [record.missed for record in combined("h200", "l4").manifest.combined] == [("latency_ms",), ()]
    assert "misses its budget (latency_ms)" in (tmp_path / "fleet" / "README.md").read_text()


def test_a_percentile_is_the_targets_own(tmp_path: Path, combined: Combined) -> None:
    write_measured(tmp_path, "h200", 2.0)
    package = write_measured(tmp_path, "l4", 4.0)
    served = read_manifest(package).served
    assert served is not None
    change(package, served=replace(served, percentile=50.0, latency_ms=1.0))
    assert [record.percentile for record in combined("h200", "l4").manifest.combined] == [99.0, 50.0]


@pytest.mark.parametrize("records", [True, False])
def test_what_was_only_built_records_graphs_where_the_first_target_does(
    tmp_path: Path, combined: Combined, records: bool
) -> None:
    package = write_measured(tmp_path, "h200", 2.0)
    serving = read_manifest(package).serving
    assert serving is not None
    change(package, serving=replace(serving, cuda_graphs=records))
    write_built(tmp_path, "t4", {FP16: 3.0})
    assert combined("h200", "t4").manifest.combined[1].chosen_by == ("compute capability" if records else "config name")
    own = tmp_path / "fleet" / "model_repository" / "tiny" / "configs" / "t4.pbtxt"
    assert records or GRAPH_PARAMETER not in own.read_text()


def test_a_repository_that_no_server_would_load_is_not_published(
    tmp_path: Path, combined: Combined, verified: list[Path]
) -> None:
    write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "l4", 4.0)
    config = tmp_path / "h200" / "model_repository" / "tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_FP32", "TYPE_INT64"))
    with pytest.raises(PackError, match="the combined repository is not valid:\n"):
        combined("h200", "l4", here="h200")
    assert verified == [], "it is not tried either"
    assert not (tmp_path / "fleet").exists()


def test_what_was_built_is_chosen_by_what_is_known(tmp_path: Path, combined: Combined) -> None:
    write_measured(tmp_path, "h200", 2.0, "onnxruntime-cuda-bf16-fused")
    write_built(tmp_path, "t4", {TF32: 3.0, FP16: 4.0, "onnxruntime-cuda-fp16-nhwc": 5.0})
    write_built(tmp_path, "l4", {TF32: 3.0, "onnxruntime-cuda-bf16-other": 4.0, FP16: 5.0})
    manifest = combined("h200", "t4", "l4").manifest
    assert [record.candidate for record in manifest.combined[1:]] == [FP16, "onnxruntime-cuda-bf16-other"]


def test_the_model_as_exported_is_the_last_choice_wherever_it_stands(tmp_path: Path, combined: Combined) -> None:
    write_measured(tmp_path, "h200", 2.0, "onnxruntime-cuda-bf16-fused")
    write_built(tmp_path, "t4", {FP16: 4.0, TF32: 3.0})
    write_built(tmp_path, "l4", {TF32: 3.0})
    assert [record.candidate for record in combined("h200", "t4", "l4").manifest.combined[1:]] == [FP16, TF32]


def test_answers_that_were_judged_come_first_and_others_are_remarked_on(tmp_path: Path, combined: Combined) -> None:
    write_measured(tmp_path, "h200", 2.0)
    write_built(tmp_path, "t4", {TF32: 3.0, FP16: 4.0}, judged={TF32})
    write_built(tmp_path, "l4", {TF32: 3.0, FP16: 4.0}, judged=())
    _, t4, l4 = combined("h200", "t4", "l4").manifest.combined
    assert (t4.candidate, t4.remark) == (TF32, "has not run on that GPU yet")
    assert (l4.candidate, l4.remark) == (FP16, "has not run on that GPU yet, and its answers were not judged")


def test_a_target_that_does_not_fit_is_left_out_and_said_so(tmp_path: Path, combined: Combined) -> None:
    write_measured(tmp_path, "h200", 2.0)
    write_measured(tmp_path, "h100", 2.0)
    text = write_text_package(tmp_path / "elsewhere")
    (tmp_path / "h100" / "model_repository").rename(tmp_path / "away")
    (text / "model_repository").rename(tmp_path / "h100" / "model_repository")
    write_built(tmp_path, "t4", {})
    manifest = combined("h200", "h100", "t4").manifest
    _, h100, t4 = manifest.combined
    assert (h100.file, h100.candidate) == (None, None)
    assert h100.remark.startswith("it is served by other models (letters, ")
    assert t4.remark == "no candidate of the first target's runtime was built for it"


def test_without_any_package_there_is_nothing_to_combine(tmp_path: Path, combined: Combined) -> None:
    write_built(tmp_path, "t4", {FP16: 3.0})
    with pytest.raises(NothingMeasured, match="none of t4, l4 was measured yet") as failure:
        combined("t4", "l4")
    assert failure.value.exit_code == 5
    assert not (tmp_path / "fleet").exists()
