"""`pack plan`: what a build would try for each target, and what it would not and why. Nothing is built or measured.

Exit code 0 whatever a build would end with, mistakes apart; where that is certain before, the plan says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from packc.candidate import group_rejections
from packc.cli.console import print_json, print_note, print_table
from packc.driver.inputs import gather_inputs
from packc.driver.profiles import Found, find_profiles, read_checked_spec
from packc.errors import MissingError, PackError
from packc.gpu import HOST_GPU
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo
from packc.package.pipelines.choice import choose_pipeline
from packc.plan import Plan, explain_nothing, make_plan
from packc.runtimes import find_runtime
from packc.runtimes.tensorrt_python import find_tensorrt, is_named
from packc.spec.model import Spec, TargetSpec
from packc.target import Target
from packc.target_profiles import NO_GPU, plan_target


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan(spec: Path, as_json: bool) -> int:
    """Show the candidates that a build of SPEC would try for each target, without building.

    Ends with 0 even where `pack build` would end with 5, and says that it would; with 2 for mistakes. What is wrong
    with the spec, an unknown profile too, is told instead of any plan; what a target asks of its device in vain costs
    that target alone.
    """
    model = read_checked_spec(spec)
    info = inspect_source(model.model)
    planned = [
        (target, profile, _plan_target(target, profile, info))
        for target, profile in find_profiles(model, spec, plan_target)
    ]
    if as_json:
        targets = [_describe(target, profile, found) for target, profile, found in planned]
        groups = [{"name": name, "targets": group} for name, group in model.combine.items()]
        print_json({"schema": 1, "model": model.model.name, "targets": targets, "combine": groups})
    elif any(isinstance(found, Plan) for _, _, found in planned):
        _print(model, info, planned)
    failures = [(target.target, found) for target, _, found in planned if isinstance(found, PackError)]
    for name, error in failures:
        print_note(f"target {name} cannot be planned:")
        print_note(error.render())
    return max((error.exit_code for _, error in failures), default=0)


def _plan_target(target: TargetSpec, profile: Found, info: SourceInfo) -> Plan | PackError:
    """The plan of one target; what is wrong with it costs the others nothing."""
    if isinstance(profile, PackError):
        return profile
    try:
        choose_pipeline(target.serve.pipeline, info)
        gather_inputs(target, profile, info, verify=False)  # says what is wrong with the data, as a build would
        return make_plan(info, profile, target.optimize)
    except PackError as error:
        return error


def _print(model: Spec, info: SourceInfo, planned: Sequence[tuple[TargetSpec, Found, Plan | PackError]]) -> None:
    click.echo(f"{model.model.name}: {info.task}, {info.architecture or info.origin}, {info.weights_mib:.0f} MiB")
    for target, profile, found in planned:
        if isinstance(found, PackError):
            continue
        assert isinstance(profile, Target), "a plan is for a device"
        click.echo(f"\n{target.target}: {profile.name} ({_place(profile)})")
        if end := _foresee(profile, found):
            click.echo(f"pack build ends with exit code {MissingError.exit_code}: it {end}")
        if found.candidates:
            rows = [(c.id, c.precision, ", ".join(map(str, c.steps)) or "-") for c in found.candidates]
            print_table(("CANDIDATE", "PRECISION", "PASSES"), rows)
        for name in dict.fromkeys(c.runtime for c in found.candidates if c.build is not None):
            if effort := find_runtime(name).effort:
                click.echo(f"note: {name} {effort}")
        if remark := _remark_tensorrt(profile):
            click.echo(f"note: {remark}")
        for rejection in group_rejections(found.rejected):
            click.echo(f"not tried: {rejection.what}: {rejection.reason}")
    for name, group in model.combine.items():
        click.echo(f"\n{name}: one repository for {', '.join(group)}, once one of them was measured")


def _remark_tensorrt(profile: Target) -> str | None:
    """What became of the TensorRT that the user named, where its device is not here to use it."""
    if profile.is_here or profile.kind not in find_runtime("tensorrt").kinds or not is_named():
        return None
    lookup = find_tensorrt()
    if lookup.found is None:
        return lookup.problem
    return f"TensorRT {lookup.found.version} in {lookup.found.python} builds nothing for a device elsewhere"


def _is_absent(profile: Target) -> bool:
    """Whether it is this machine's GPU, and there is none."""
    return profile.id == HOST_GPU and not profile.is_here


def _place(profile: Target) -> str:
    """Where the device is, and so what the plan is worth."""
    if profile.is_here:
        return "this machine"
    if _is_absent(profile):
        return "none is here: this is what one would be tried on"
    return "elsewhere: nothing is measured here"


def _foresee(profile: Target, found: Plan) -> str | None:
    """What a build will do where the device or its runtime is missing; None where it will measure here."""
    if _is_absent(profile):
        return f"builds nothing: {NO_GPU}; a profile such as nvidia-l4 leaves job bundles for a GPU elsewhere"
    if not found.candidates:
        return f"builds nothing: {explain_nothing(profile)}"
    if not profile.is_here:
        return "judges the answers here and leaves job bundles to be timed on the device"
    return None


def _describe(target: TargetSpec, profile: Found, found: Plan | PackError) -> dict[str, object]:
    if isinstance(found, PackError):
        failed = {"does": f"builds nothing: {found}", "exit_code": found.exit_code}
        is_here = isinstance(profile, Target) and profile.is_here
        head = {"name": target.target, "profile": target.profile, "is_here": is_here}
        return {**head, "candidates": [], "build": failed, "rejected": []}
    assert isinstance(profile, Target), "a plan is for a device"
    end = _foresee(profile, found)
    return {
        "name": target.target,
        "profile": target.profile,
        "is_here": profile.is_here,
        "candidates": [
            {"id": c.id, "runtime": c.runtime, "precision": c.precision, "passes": [str(step) for step in c.steps]}
            for c in found.candidates
        ],
        "build": {"does": end, "exit_code": MissingError.exit_code} if end else None,
        "rejected": [{"what": rejection.what, "reason": rejection.reason} for rejection in found.rejected],
    }
