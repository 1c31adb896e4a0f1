from __future__ import annotations

from pathlib import Path

from packc.candidate import PassStep
from packc.ingest.source import Geometry
from packc.passes.graph_pass import PassReport
from packc.passes.request import Request, read_reports, read_request, write_reports, write_request


def test_a_request_survives_the_trip(tmp_path: Path) -> None:
    request = Request(
        model=tmp_path / "model.onnx",
        steps=(PassStep("clean_graph"), PassStep("quantize_dynamic", {"per_channel": False, "exclude": "ffn_down"})),
        geometry=Geometry(layers=1, heads=2, hidden=8, ffn=16),
        calibration=tmp_path / "calibration.npz",
        out=tmp_path,
        keep=(1, 2),
    )
    write_request(tmp_path / "request.json", request)
    assert read_request(tmp_path / "request.json") == request


def test_reports_survive_the_trip(tmp_path: Path) -> None:
    reports = (PassReport("a", modified=True, fused=1, expected=2, warnings=("w",)), PassReport("b", modified=False))
    write_reports(tmp_path, reports)
    assert read_reports(tmp_path) == reports
