from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tensorrt_bench import DYNAMIC, Bench


def test_a_version_compatible_plan_may_bring_code(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "version_compatible": True}, threads=1)
    assert session.runtime.engine_host_code_allowed is True


@pytest.mark.parametrize(
    ("name", "value"),
    [("tensorrt", "7.0.0"), ("device", "NVIDIA A10"), ("compute_capability", "8.6"), ("os", "Windows AMD64")],
)
def test_a_plan_from_elsewhere_is_refused(bench: Bench, name: str, value: str) -> None:
    facts = bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.plan.with_suffix(".json").write_text(json.dumps({**facts, name: value}))
    message = r"^model\.plan was made by TensorRT .*; here is TensorRT .*: build it again here, from its \.onnx$"
    with pytest.raises(RuntimeError, match=message) as raised:
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert value in str(raised.value)


@pytest.mark.parametrize("lacking", ["tensorrt", "device", "compute_capability", "os", "options"])
def test_a_stamp_that_lacks_a_fact_is_refused(bench: Bench, lacking: str) -> None:
    facts = bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.plan.with_suffix(".json").write_text(json.dumps({**facts, "device": "NVIDIA A10", lacking: None}))
    del facts[lacking]
    bench.plan.with_suffix(".json").write_text(json.dumps(facts))
    message = rf"^model\.json does not say {lacking}, so nobody knows where model\.plan loads$"
    with pytest.raises(RuntimeError, match=message):
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)


def test_a_plan_without_a_stamp_is_refused(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.plan.with_suffix(".json").unlink()
    with pytest.raises(RuntimeError, match=r"^model\.plan has no model\.json beside it, which says where it loads"):
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)


def test_a_plan_that_was_built_to_travel_may(bench: Bench) -> None:
    options = {**DYNAMIC, "version_compatible": True, "hardware_compatible": "ampere_plus"}
    facts = bench.engine.build(bench.model, str(bench.plan), options)
    changed = {**facts, "tensorrt": "9.0.0", "device": "NVIDIA A10", "compute_capability": "8.6"}
    bench.plan.with_suffix(".json").write_text(json.dumps(changed))
    session = bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert bench.run(session, 1)[0, 0] == 2


def test_a_plan_that_tensorrt_refuses(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.world.load_error = "Version tag does not match"
    message = r"^model\.plan cannot be loaded by TensorRT [\d.]+: Version tag does not match$"
    with pytest.raises(RuntimeError, match=message):
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)


def test_a_failure_has_its_own_reason(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    for _ in range(60):
        bench.world.execute_error = "Requested amount of GPU memory (9 bytes) could not be allocated."
        with pytest.raises(RuntimeError, match=r"^out of GPU memory: TensorRT cannot run the engine: Requested"):
            bench.run(session, 1)
        bench.world.execute_error = "Cask failure"
        with pytest.raises(RuntimeError, match=r"^TensorRT cannot run the engine: Cask failure$"):
            bench.run(session, 1)


def test_what_a_builder_got_over_is_no_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make_config = bench.trt.Builder.create_builder_config

    def complain(self: Any) -> Any:
        self._log.log(bench.trt.ILogger.ERROR, "Skipping tactic 3 due to OutOfMemory")
        return make_config(self)

    monkeypatch.setattr(bench.trt.Builder, "create_builder_config", complain)
    bench.world.load_error = "Version tag does not match"
    with pytest.raises(RuntimeError, match=r"^the engine that was built cannot be loaded .*: Version tag does not"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


def test_what_cannot_be_written_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    before = sorted(bench.folder.iterdir())
    with pytest.raises(OSError, match="No space left"):
        bench.module("plan").write_whole(bench.folder / "timing.cache", b"+")
    assert sorted(bench.folder.iterdir()) == before


def test_lack_of_gpu_memory_is_called_that(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    bench.world.context_error = "[executionContext] Error Code 2: OutOfMemory (no further information)"
    with pytest.raises(RuntimeError, match=r"^out of GPU memory: TensorRT cannot open profile 0: "):
        bench.run(session, 1)
    bench.world.context_error = ""
    bench.cuda.free_bytes = 4
    with pytest.raises(RuntimeError, match=r"^out of GPU memory \(cuMemAlloc_v2\)$"):
        bench.run(session, 4)
