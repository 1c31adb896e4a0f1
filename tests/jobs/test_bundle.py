from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from packc.errors import PackError
from packc.jobs import bundle as bundles
from packc.jobs.bundle import model_size_mib, read_job, read_result, write_bundle
from stub_bundle import stub_bundle, stub_job

RESULT = {
    "status": "ok",
    "failure": None,
    "load_s": 0.5,
    "peak_rss_mib": 12.0,
    "times": [{"case": "typical", "times_ms": [1.0, 2.0]}],
    "answers": "/somewhere/else/answers.npz",
    "device": "cpu",
    "versions": [["python", "3.12.1"]],
}


def test_a_bundle_holds_everything_a_runner_needs(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path)
    names = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    runner = {"run.py", "result_files.py", "gpu_state.py"}
    assert names == {*runner, "job.json", "engine.py", "model/model.txt", "samples.npz", "latency.npz"}
    assert read_job(bundle) == stub_job(cases=())


def test_external_data_travels_along_and_counts_in_the_size(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    (artifact / "weights").mkdir(parents=True)
    (artifact / "model.onnx").write_bytes(b"x" * 2**20)
    (artifact / "weights" / "data.bin").write_bytes(b"y" * 2**20)
    engine = tmp_path / "engine.py"
    engine.write_text("")
    main, data = artifact / "model.onnx", artifact / "weights" / "data.bin"
    (artifact / "reports.json").write_text("no part of the artifact")
    job = replace(stub_job(cases=()), model="model/model.onnx")
    write_bundle(tmp_path / "bundle", job, (main, data), None, None, {"engine.py": engine, "beside.py": main})
    assert model_size_mib(tmp_path / "bundle") == 2.0
    assert (tmp_path / "bundle/beside.py").read_bytes() == main.read_bytes(), "an adapter may be several files"
    assert (tmp_path / "bundle/model/model.onnx").samefile(artifact / "model.onnx")
    assert (artifact / "weights" / "data.bin").stat().st_nlink == 1, "ONNX readers refuse linked external data"


def test_a_bundle_that_is_to_stay_shares_nothing(tmp_path: Path) -> None:
    model = tmp_path / "artifact" / "model.txt"
    model.parent.mkdir()
    model.write_text("2.0")
    write_bundle(tmp_path / "bundle", stub_job(cases=()), (model,), None, model, {"engine.py": model}, linked=False)
    assert model.stat().st_nlink == 1
    assert (tmp_path / "bundle/latency.npz").read_text() == "2.0"


def test_a_bundle_is_copied_where_links_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(bundles.os, "link", refuse)
    assert (stub_bundle(tmp_path) / "model/model.txt").read_text() == "2.0"


def test_writing_a_bundle_again_leaves_the_first_model_alone(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.txt").write_text("3.0")
    engine = {"engine.py": tmp_path / "engine_source.py"}
    write_bundle(bundle, stub_job(cases=()), (other / "model.txt",), None, None, engine)
    assert (bundle / "model/model.txt").read_text() == "3.0"
    assert (tmp_path / "artifact/model.txt").read_text() == "2.0"


def test_answers_are_always_read_from_the_bundle_itself(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    result = read_result(tmp_path)
    assert result.answers == tmp_path / "answers.npz"
    assert result.times[0].times_ms == (1.0, 2.0)
    assert result.versions == (("python", "3.12.1"),)


def test_a_result_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="the bundle has no result") as error:
        read_result(tmp_path)
    assert error.value.hint == "run the bundle first: python3 run.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"status"', "result.json cannot be read: it is cut short, or no JSON"),
        (json.dumps(RESULT | {"status": "fine"}), 'its status is "fine"'),
        (json.dumps(RESULT | {"times": [{"case": "a", "times_ms": ["x"]}]}), 'its times.0.times_ms.0 is "x"'),
        (json.dumps({k: v for k, v in RESULT.items() if k != "times"}), "it has no times"),
        ("[]", "it has no fields"),
    ],
)
def test_a_malformed_result_names_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(PackError, match=message):
        read_result(tmp_path)
