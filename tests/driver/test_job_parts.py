from __future__ import annotations

import dataclasses

import pytest

from driver_world import World, write_tensors
from packc.driver import inputs
from packc.driver.job_parts import ANY_PART, describe_changes, name_model
from packc.package.manifest_file import read_manifest


def test_what_changed_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tensors(world.folder / "eval.npz")
    before = world.gather('data = "eval.npz"')

    def tell(*sections: str) -> str:
        return describe_changes(before.job_parts, world.gather('data = "eval.npz"', *sections).job_parts)

    assert tell("[budget]\nlatency_ms = 3") == ANY_PART, "nothing that bundles are made of"
    assert tell("[calibration]\nsamples = 3") == "[calibration] and the data"
    assert tell('[optimize]\ngoal = "size"') == "[optimize]"
    assert tell('[optimize]\ngoal = "throughput"') == ANY_PART
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "__version__", "next")
        patch.setattr(inputs.platform, "node", lambda: "another")
        assert tell() == "a version of pack or a library and the machine that builds"
    write_tensors(data, seed=1)
    model = world.folder / "tiny.onnx"
    model.write_bytes(model.read_bytes().replace(b"matmul", b"MatMul"))
    assert tell("[workload]\nconcurrency = 4") == "[workload], the model and the data"


def test_another_profile_is_a_change(world: World) -> None:
    before = world.gather()
    other = world.gather(target=dataclasses.replace(before.target, units=77, notes=("slow",)))
    assert describe_changes(before.job_parts, other.job_parts) == "the profile"


def test_where_nothing_was_recorded_it_may_be_anything(world: World) -> None:
    assert describe_changes({}, world.gather().job_parts) == ANY_PART


def test_all_files_beside_a_factory_are_its_model(world: World) -> None:
    info = world.gather().info
    assert name_model(info) == "the model"
    assert "all code and weights in its package or folder" in name_model(dataclasses.replace(info, origin="torch"))


def test_the_parts_are_in_the_manifest(world: World) -> None:
    world.build()
    assert read_manifest(world.final).job_parts == world.gather().job_parts
