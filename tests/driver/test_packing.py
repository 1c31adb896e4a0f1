from __future__ import annotations

from pathlib import Path

from driver_world import World
from packc.driver.endings import BuildOptions
from packc.driver.packing import Packing, pack_candidate
from packc.search import TimeLimit
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
