from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packc.package.insight import LayerRecord, LimitRecord, LimitsRecord, PeakRecord, SensitivityRecord
from packc.package.manifest_file import read_manifest, write_manifest
from served_packages import make_manifest


def test_what_explains_the_figures_is_in_the_manifest(tmp_path: Path) -> None:
    limit = LimitRecord("ort-fp32", 1.2, 0.5, "memory", 20.0, "fp32")
    limits = LimitsRecord(2.0, 1e6, 1, None, 2, "measured here", (PeakRecord("fp32", 90.0, "onnxruntime"),), (limit,))
    layer = LayerRecord("/q", "attention query", 0, 0.01, 0.2, True)
    manifest = replace(make_manifest("tiny"), limits=limits, sensitivity=SensitivityRecord("onnxruntime", 16, (layer,)))
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
