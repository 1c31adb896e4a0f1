"""The command around `verify_package`; e2e/test_server_push.py runs it against a real server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_packages import write_fleet
from packc.cli.main import run
from packc.errors import MissingError
from packc.package.manifest import ServedRecord
from packc.package.manifest_file import read_manifest, write_manifest
from packc.server import verify
from packc.server.verify import Verified
from served_packages import write_tensor_package


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The calls of `verify_package`, which answers with a p99 of 12 ms, or of 2 s when it is given an address."""
    calls: list[dict[str, object]] = []

    def stand_in(
        package: Path, model: str, workload: object, precision: str, *, urls: tuple[str, ...], target: str | None
    ) -> Verified:
        calls.append({"package": package, "model": model, "precision": precision, "urls": urls})
        if target:
            calls[-1]["target"] = target
        latency_ms = 2000.0 if urls else 12.0
        record = ServedRecord(5.0, latency_ms, 150.0, 8, 400, "triton 2", latency_ms, 99.0, "http", None, 1e-7)
        return Verified(replace(record, noisy=bool(urls)), None)

    monkeypatch.setattr(verify, "verify_package", stand_in)
    return calls


def test_prints_what_the_server_said(
    tmp_path: Path, served: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_tensor_package(tmp_path / "package")
    assert run(["verify", str(package)]) == 0
    assert served == [{"package": package, "model": "tiny", "precision": "fp32", "urls": ()}]
    out = capsys.readouterr().out
    assert "tiny for here: verified by triton 2" in out
    assert "p99 12.00 ms of 1000, p50 5.00 ms" in out


def test_a_package_that_was_changed_is_refused_after_its_figures(
    tmp_path: Path, served: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_tensor_package(tmp_path / "package")
    (package / "golden" / "extra").touch()
    assert run(["verify", str(package)]) == 1
    out, err = capsys.readouterr()
    assert "tiny for here: served by triton 2" in out
    assert "p99 12.00 ms of 1000" in out
    assert "warning: golden/extra was added" in err
    assert "note      golden/extra was added after the package was built" in out
    assert "is not what was built: golden/extra was added" in err


def test_a_promise_that_the_build_missed_stays_missed(
    tmp_path: Path, served: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_tensor_package(tmp_path / "package")
    manifest = read_manifest(package)
    verdict = replace(manifest.verdict, met=False, reasons=("it is too large",))
    write_manifest(package, replace(manifest, verdict=verdict))
    assert run(["verify", str(package), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["met"] is False
    assert "the build missed a promise: it is too large" in err


def test_json_and_a_missed_budget(
    tmp_path: Path, served: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_tensor_package(tmp_path / "package")
    urls = ["--url", "http://here:8000", "--url", "grpc://here:8001"]
    assert run(["verify", str(package), *urls, "--json"]) == 3
    assert served[0]["urls"] == ("http://here:8000", "grpc://here:8001")
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["schema"], document["met"], document["served"]["latency_ms"]) == (1, False, 2000.0)
    assert "p99 is 2000.00 ms through the server, the budget is 1000 ms" in err
    assert "hint: timing was noisy: verify again" in err


def test_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def none(cache: object = None) -> None:
        raise MissingError("there is no Triton server here", hint="`pack doctor --install server`")

    monkeypatch.setattr(verify, "require_server", none)
    assert run(["verify", str(write_tensor_package(tmp_path / "package"))]) == 5
    assert "hint: `pack doctor --install server`" in capsys.readouterr().err


@pytest.fixture
def combined(tmp_path: Path) -> Path:
    return write_fleet(tmp_path)


def test_a_target_of_a_combined_package_is_verified_by_its_own_record(
    combined: Path, served: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(combined), "--target", "l4"]) == 0
    assert served == [{"package": combined, "model": "tiny", "precision": "tf32", "urls": (), "target": "l4"}]
    assert "tiny for l4: verified by triton 2" in capsys.readouterr().out
    assert run(["verify", str(combined)]) == 0
    assert served[1]["precision"] == "fp16"


def test_a_target_that_was_not_measured_cannot_be_verified(
    combined: Path, served: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(combined), "--target", "t4"]) == 5
    assert "t4 was built and not measured" in capsys.readouterr().err
    assert run(["verify", str(combined), "--target", "a100"]) == 2
    assert "it is for h200, l4, t4" in capsys.readouterr().err
    assert served == []
