from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from driver_world import World
from packc.driver import packing as driver_packing
from packc.driver.endings import BuildOptions
from packc.driver.packing import Packing, pack_candidate
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.search import TimeLimit
from packc.server.libraries import find_requirements
from packc.serving import ServingPlan
from served_packages import read_config


def test_a_package_is_served_by_the_plan_that_it_is_given(world: World, tmp_path: Path) -> None:
    outcomes, inputs = world.search(), world.gather()
    packing = Packing(
        inputs,
        world.make_trial(),
        inputs.make_findings(tuple(outcomes.values()), ()),
        ServingPlan(1, 1, 8, 0, ()),
        "none",
        BuildOptions(),
        TimeLimit(0.0),
    )
    assert packing.evaluation.inputs == packing.trial.ingested.inputs
    plan = ServingPlan(3, 2, 8, 250, (), preferred_batch_sizes=(4,))
    pack_candidate(packing, outcomes["base"], plan, tmp_path / "package")
    config = read_config(tmp_path / "package" / "model_repository" / "tiny")
    assert (config.instance_group[0].count, config.max_batch_size) == (3, 8)
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    assert config.dynamic_batching.max_queue_delay_microseconds == 250


def test_servers_get_the_version_that_was_measured(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is the device's, where the results came from elsewhere."""
    outcome, inputs = world.search()["base"], world.gather()
    assert outcome.measurement is not None
    measured = replace(outcome.measurement, versions=(("python", "3.12.3"), ("onnxruntime-gpu", "1.31.1")))
    packing = Packing(
        inputs,
        world.make_trial(),
        inputs.make_findings((outcome,), ()),
        ServingPlan(1, 1, 8, 0, ()),
        "none",
        BuildOptions(),
        TimeLimit(0.0),
    )
    monkeypatch.setattr(driver_packing, "find_runtime", lambda name: OnnxRuntimeCuda())
    pack_candidate(packing, replace(outcome, measurement=measured), packing.rule, tmp_path / "package")
    assert find_requirements(tmp_path / "package" / "model_repository") == ("onnxruntime-gpu[cuda,cudnn]==1.31.1",)
    assert "The served figures are of a server" in (tmp_path / "package" / "README.md").read_text()
    alone = replace(packing, options=BuildOptions(verify=False))
    pack_candidate(alone, replace(outcome, measurement=measured), packing.rule, tmp_path / "alone")
    assert "No server ran: the figures are of one caller" in (tmp_path / "alone" / "README.md").read_text()
