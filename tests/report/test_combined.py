from __future__ import annotations

from dataclasses import replace

from manifests import make_kept_manifest
from packc.package.manifest import CombinedRecord, Manifest
from packc.report.combined import list_combined
from packc.report.html import render_html
from packc.report.terminal import render_report

H200 = CombinedRecord("h200", "nvidia-h200-sxm", "9.0", "verified", "fp16", "fp16", "model.onnx", "default", 4.1, 99.0,
                      2100, is_loaded=True)  # fmt: skip
H100 = replace(H200, target="h100", file="model.h100.onnx", chosen_by="config name", latency_ms=None,
               throughput_per_s=None, state="built", remark="was built", is_loaded=False)  # fmt: skip
L4 = CombinedRecord("l4", "nvidia-l4", "8.9", "planned", None, None, None, "", remark="there is no build of it yet")


def make_combined(*records: CombinedRecord) -> Manifest:
    return replace(make_kept_manifest(), combined=records)


def test_each_target_says_how_it_is_served_and_how_far_its_build_came() -> None:
    assert dict(list_combined(make_combined(H200, H100, L4))) == {
        "h200": "9.0, fp16 as model.onnx by default; its own package: verified, p99 4.10 ms, 2,100 samples/s; "
        "this repository: loaded",
        "h100": "9.0, fp16 as model.h100.onnx by --model-config-name=h100 (without it: that of h200); "
        "its own package: built; this repository: not loaded as this target yet; was built",
        "l4": "8.9, no part in the repository: there is no build of it yet",
    }
    a100 = replace(H200, target="a100", chosen_by="compute capability", percentile=50.0)
    ((_, text),) = list_combined(make_combined(a100))
    assert "model.onnx by its compute capability; its own package: verified, p50 4.10 ms" in text


def test_reports_of_combined_packages_tell_of_all() -> None:
    combined, plain = make_combined(H200, L4), make_kept_manifest()
    assert "\n\nseveral GPUs\n  h200: 9.0, fp16 as model.onnx" in render_report(combined)
    assert "several GPUs" not in render_report(plain)
    assert "<dt>h200</dt><dd>9.0, fp16 as model.onnx" in render_html(combined)
    assert "Several GPUs" not in render_html(plain)


def test_a_missed_promise_and_a_single_artifact_are_told() -> None:
    manifest = make_combined(replace(H200, missed=("latency_ms",)), L4)
    assert "2,100 samples/s, misses its budget (latency_ms); this repository" in dict(list_combined(manifest))["h200"]
    for report in (render_report(manifest, width=400), render_html(manifest)):
        assert (
            "Of several GPUs: the package has the artifact of h200 alone (l4: there is no build of it yet)." in report
        )
        assert "Of several GPUs: h200 misses its budget (latency_ms)." in report
    assert "Of several GPUs" not in render_html(make_kept_manifest())
