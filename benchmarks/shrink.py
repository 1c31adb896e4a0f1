"""What smaller models bring: pruned graphs and a student, each against the same recipe on the whole model.

    python benchmarks/shrink.py [--prune 0.25] [--layers 3] [--steps 150]

all-MiniLM-L6-v2 with the example's data. All candidates are judged on the same sentences against the source model's own
answers, and timed side by side in rounds of fresh processes, whatever their quality: a build would not time those that
its bound refuses.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from support.models import EXAMPLE, find_minilm
from support.results import write_results

from packc.cache import Cache
from packc.driver.evaluate import check_candidate
from packc.driver.inputs import gather_inputs
from packc.driver.target import make_trial
from packc.driver.timing import time_long
from packc.ingest.distill import describe_training, distill_student
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.plan import make_plan
from packc.promises import describe_score
from packc.select import Outcome
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets
from packc.target_profiles import find_target

RECIPES = ("onnxruntime-fp32-fused", "onnxruntime-int8-dynamic-smooth")
SPEC = """
[model]
name = "minilm"
source = "{source}"

[workload]
batch = {{ typical = 1, max = 16 }}
data = "{example}/traffic.jsonl"

[quality]
metric = "neighbour_agreement"
min = 0.0
data = "{example}/eval.jsonl"

[calibration]
data = "{example}/calib.jsonl"

[optimize]
runtimes = ["onnxruntime"]
prune = {prune}
distill = {{ layers = {layers}, steps = {steps} }}

[targets.cpu]
profile = "host"
"""


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prune", type=float, default=0.25, help="share of heads and neurons to remove")
    parser.add_argument("--layers", type=int, default=3, help="of the student")
    parser.add_argument("--steps", type=int, default=150, help="of its training")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pack-shrink-") as folder:
        body = compare(Path(folder), arguments.prune, arguments.layers, arguments.steps)
    command = f"python benchmarks/shrink.py --prune {arguments.prune} --layers {arguments.layers} "
    write_results("shrink", "Smaller models: MiniLM, real weights", f"{command}--steps {arguments.steps}", body)


def compare(scratch: Path, prune: float, layers: int, steps: int) -> str:
    """The table as Markdown, and how the student was trained."""
    spec_file, cache = scratch / "spec.toml", Cache()
    spec_file.write_text(
        SPEC.format(source=find_minilm(), example=EXAMPLE, prune=prune, layers=layers, steps=steps), "utf-8"
    )
    spec = resolve_targets(read_spec(spec_file))[0]
    inputs = gather_inputs(spec, find_target("host", scratch), inspect_source(spec.model), verify=False)
    assert inputs.lessons is not None
    assert spec.optimize.distill is not None
    ingested = ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)
    student = distill_student(inputs.info, spec.optimize.distill, inputs.lessons, cache)
    trial = make_trial(inputs, replace(ingested, student=student.source), cache)
    candidates = make_plan(inputs.info, inputs.target, spec.optimize).candidates
    checked = [check_candidate(candidate, trial) for candidate in candidates if find_whole(candidate.id) in RECIPES]
    return describe(time_long(checked, trial)) + f"\nTrained: {describe_training(student.training)}.\n"


def find_whole(candidate: str) -> str:
    """The id of the same recipe on the whole model."""
    name, _, recipe = candidate.partition("-")
    return (recipe if name.startswith("student") else candidate).removesuffix("-pruned")


def describe(outcomes: Sequence[Outcome]) -> str:
    """One row a candidate; a ratio above 1 is faster than its recipe on the whole model."""
    times = {o.candidate.id: o.measurement.latencies[0].p50_ms for o in outcomes if o.measurement is not None}
    lines = ["| candidate | p50 ms | x its whole sibling | MiB | quality |", "|---|---|---|---|---|"]
    for outcome in sorted(outcomes, key=lambda o: (find_whole(o.candidate.id), o.candidate.id)):
        name = outcome.candidate.id
        if outcome.measurement is None or outcome.quality is None:
            lines.append(f"| {name} | failed: {outcome.failure} | | | |")
            continue
        ratio = times[find_whole(name)] / times[name]
        noise = ", noisy" if outcome.measurement.latencies[0].noisy else ""
        lines.append(
            f"| {name} | {times[name]:.2f}{noise} | {ratio:.2f} | {outcome.measurement.size_mib:.1f} | "
            f"{describe_score(outcome.quality)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
