from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driver_world import World, write_tensors
from models import write_jsonl
from packc import __version__
from packc.driver import inputs
from packc.driver.inputs import BuildInputs, digest_samples, digest_source, gather_inputs, limit_samples, list_versions
from packc.errors import DataError
from packc.host import probe_host
from packc.ingest.inspect import inspect_source
from packc.ingest.source import TextPreprocessing
from packc.samples import RawSamples, load_samples, save_samples
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets
from packc.target_profiles import find_target

GENOA = find_target("cpu-amd-genoa", Path())


def test_without_data_samples_are_generated_and_say_so(world: World) -> None:
    found = world.gather()
    assert found.evaluation.is_generated
    assert found.calibration == found.evaluation
    assert found.traffic is None
    assert found.metric == "max_error"
    assert found.make_findings((), ()).quality_data == "generated"


def test_the_specs_data_are_read(world: World) -> None:
    for i, name in enumerate(("eval", "calib", "traffic")):
        write_tensors(world.folder / f"{name}.npz", seed=i)
    found = world.gather('data = "eval.npz"', '[calibration]\ndata = "calib.npz"', '[workload]\ndata = "traffic.npz"')
    assert found.evaluation.tensors == world.folder / "eval.npz"
    assert found.calibration.tensors == world.folder / "calib.npz"
    assert found.traffic is not None
    assert found.traffic.tensors == world.folder / "traffic.npz"


def test_calibration_falls_back_on_the_traffic(world: World) -> None:
    write_tensors(world.folder / "traffic.npz")
    found = world.gather('[workload]\ndata = "traffic.npz"')
    assert found.calibration == found.traffic
    assert found.evaluation.is_generated


def test_missing_data_are_an_error(world: World) -> None:
    data = write_tensors(world.folder / "eval.npz")
    spec, target = world.read('data = "eval.npz"')
    data.unlink()
    with pytest.raises(DataError, match="there are no data at"):
        gather_inputs(target, probe_host(), inspect_source(spec.model), verify=True)


def test_the_metric_is_the_tasks_when_the_spec_names_none(world: World) -> None:
    path = world.write_spec()
    (spec,) = resolve_targets(read_spec(path))
    spec = spec.model_copy(update={"quality": spec.quality.model_copy(update={"metric": None})})
    assert gather_inputs(spec, probe_host(), inspect_source(spec.model), verify=True).metric == "cosine"


def test_the_digest_of_a_model_is_of_its_answers_and_how_it_is_asked(world: World) -> None:
    info = world.gather().info
    digest = digest_source("tiny", info)
    found = world.gather("[budget]\nlatency_ms = 10").make_findings((), ())
    assert found.source_digest == digest, "what it is promised, and to whom, does not matter"
    assert digest_source("tiny", dataclasses.replace(info, location="/elsewhere", revision="main")) == digest
    tokenizers = [world.folder / name / "tokenizer.json" for name in ("here", "there", "other")]
    for file in tokenizers:
        file.parent.mkdir()
        file.write_text("{}" if file.parent.name == "other" else '{"version": 1}')
    text, moved, changed = (TextPreprocessing(file, 128, 0, ("input_ids",)) for file in tokenizers)
    as_text = digest_source("tiny", dataclasses.replace(info, preprocessing=text))
    assert digest_source("tiny", dataclasses.replace(info, preprocessing=moved)) == as_text
    others = {
        digest_source("other", info),
        *(
            digest_source("tiny", dataclasses.replace(info, **{name: value}))
            for name, value in (
                ("fingerprint", "another"),
                ("task", "fill-mask"),
                ("pooling", "cls"),
                ("normalize", True),
                ("labels", ("a", "b")),
                ("part", "encoder"),
                ("preprocessing", text),
                ("preprocessing", changed),
                ("preprocessing", dataclasses.replace(text, pads_left=True)),
            )
        ),
    }
    assert len(others - {digest}) == 10


def test_the_key_is_that_of_everything_that_matters(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tensors(world.folder / "eval.npz")
    section = 'data = "eval.npz"'
    keys = [world.gather(section).key]
    assert world.gather(section).key == keys[0]
    keys.append(world.gather(section, "[budget]\nlatency_ms = 10").key)
    keys.append(world.gather(section, target=dataclasses.replace(probe_host(), units=77)).key)
    keys.append(world.gather(section, verify=False).key)
    write_tensors(data, seed=1)
    keys.append(world.gather(section).key)
    model = world.folder / "tiny.onnx"
    model.write_bytes(model.read_bytes().replace(b"matmul", b"MatMul"))
    keys.append(world.gather(section).key)
    monkeypatch.setattr(inputs, "__version__", "next")
    keys.append(world.gather(section).key)
    monkeypatch.setattr(inputs.platform, "node", lambda: "another machine")
    keys.append(world.gather(section).key)
    assert len(set(keys)) == len(keys)


def test_what_judges_results_is_not_in_the_key_of_job_bundles(world: World) -> None:
    def find(*sections: str) -> BuildInputs:
        return world.gather(*sections, target=GENOA)

    whole = find()
    for section in (
        "[budget]\nlatency_ms = 10\npercentile = 50\nsize_mib = 3",
        "[serve]\nwarmup = false",
        '[optimize]\ngoal = "throughput"',
    ):
        other = find(section)
        assert other.key != whole.key
        assert other.jobs_key == whole.jobs_key


def test_the_key_of_job_bundles_is_that_of_what_they_are_made_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tensors(world.folder / "eval.npz")

    def find(*sections: str, **changes: Any) -> str:
        target = dataclasses.replace(GENOA, **changes)
        return world.gather('data = "eval.npz"', *sections, target=target).jobs_key

    keys = [find()]
    assert find() == keys[0]
    keys += [find("[workload]\nbatch = { typical = 2, max = 8 }"), find("[workload]\nconcurrency = 4")]
    keys += [find("[calibration]\nsamples = 3"), find("[optimize]\nprune = 0.5"), find('[optimize]\ngoal = "size"')]
    keys += [find("[targets.cpu.quality]\nmin = 0.2"), find(units=77)]
    write_tensors(data, seed=1)
    keys.append(find())
    model = world.folder / "tiny.onnx"
    model.write_bytes(model.read_bytes().replace(b"matmul", b"MatMul"))
    keys.append(find())
    monkeypatch.setattr(inputs, "__version__", "next")
    keys.append(find())
    monkeypatch.setattr(inputs.platform, "node", lambda: "another machine")
    keys.append(find())
    assert len(set(keys)) == len(keys)


def test_the_versions_are_of_what_is_installed() -> None:
    versions = list_versions()
    assert versions["packc"] == __version__
    assert versions["numpy"] == np.__version__
    assert {"onnxruntime", "openvino"} <= set(versions), "the runtimes are asked, whatever the extras say"
    assert all(versions.values())


def test_limit_samples() -> None:
    samples = RawSamples("a.jsonl", texts=("a", "b", "c"), labels=("0", "1", "0"))
    assert limit_samples(samples, 2) == RawSamples("a.jsonl", texts=("a", "b"), labels=("0", "1"))
    assert limit_samples(samples, 5) == samples


def test_limit_samples_of_a_tensor_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "cache"))
    save_samples(tmp_path / "a.npz", [{"x": np.full((1, 2), i)} for i in range(3)])
    samples = RawSamples("a.npz", tensors=tmp_path / "a.npz")
    kept = limit_samples(samples, 2).tensors
    assert kept is not None
    assert [int(sample["x"][0, 0]) for sample in load_samples(kept)] == [0, 1]
    assert limit_samples(samples, 3) == samples


def test_a_digest_is_of_content(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"a")
    samples = RawSamples("folder", images=(image,), labels=("cat",))
    before = digest_samples(samples)
    assert digest_samples(dataclasses.replace(samples, origin="elsewhere")) == before
    assert digest_samples(dataclasses.replace(samples, labels=("dog",))) != before
    image.write_bytes(b"b")
    assert digest_samples(samples) != before


def test_a_student_is_taught_by_its_own_data_the_traffic_or_the_calibration(
    tiny_bert_dir: Path, tmp_path: Path
) -> None:
    for name in ("eval", "calib", "traffic", "texts"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": f"{name} {i}"} for i in range(30)])

    def find(*sections: str, distill: str = "1") -> BuildInputs:
        path = tmp_path / "spec.toml"
        path.write_text(
            f'[model]\nname = "m"\nsource = "{tiny_bert_dir}"\n[optimize]\ndistill = {distill}\n'
            + "\n".join(sections)
            + '\n[targets.cpu]\nprofile = "host"\n'
        )
        spec = read_spec(path)
        return gather_inputs(resolve_targets(spec)[0], probe_host(), inspect_source(spec.model), verify=False)

    def teach(*sections: str, distill: str = "1") -> str:
        lessons = find(*sections, distill=distill).lessons
        assert lessons is not None
        assert len(lessons.texts) == 30
        return lessons.texts[0]

    quality = '[quality]\ndata = "eval.jsonl"'
    calibration = '[calibration]\ndata = "calib.jsonl"\nsamples = 5'
    traffic = '[workload]\ndata = "traffic.jsonl"'
    assert teach(quality, calibration, traffic, distill='{ layers = 1, data = "texts.jsonl" }') == "texts 0"
    assert teach(quality, calibration, traffic) == "traffic 0"
    assert teach(quality, calibration) == "calib 0"
    assert (teach(quality), find(quality).trains_on_evaluation) == ("eval 0", True)
    assert find(quality, traffic).key != find(quality, traffic, distill='{ layers = 1, data = "texts.jsonl" }').key
    with pytest.raises(DataError, match="there are no texts to train a student on"):
        find()
    write_jsonl(tmp_path / "texts.jsonl", [{"text": "alone"}])
    with pytest.raises(DataError, match=r"texts\.jsonl has one text, and a student takes 2 at least"):
        find(quality, distill='{ layers = 1, data = "texts.jsonl" }')
