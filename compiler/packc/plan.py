"""Spec x Target -> Plan: which candidates are worth building, and why the others are not. A pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packc.candidate import Candidate, Rejection
from packc.errors import TargetError
from packc.gpu import HOST_GPU
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.runtimes import RUNTIMES
from packc.runtimes.onnxruntime import PRUNABLE, OnnxRuntime, prune_candidates
from packc.runtimes.runtime import Runtime
from packc.spec.optimize import OptimizeSection
from packc.target import Target, TargetKind
from packc.tensors import PRECISIONS, Precision

__all__ = ["Plan", "Rejection", "make_plan"]

STORED: tuple[Precision, ...] = ("int4",)
"""Precisions of stored weights that every CPU can unpack while it computes in another one: smaller, not faster."""


WITHOUT_RECIPE: tuple[Precision, ...] = ("int4",)
"""Of NVIDIA GPUs: tensor cores from Turing to Ada multiply it, and no runtime of pack does."""

NO_RECIPE = "pack has no recipe for it"
FOR_SIZE = 'is smaller and not faster: [optimize] goal = "size" tries it, or precisions that name it'
NOT_TOGETHER = "pack has no recipe with that runtime in that precision for this model"
PRUNES_ON_CPUS = "pack prunes candidates of ONNX Runtime on CPUs alone"
NO_GEOMETRY = "only transformers whose heads and widths the checkpoint's config states are pruned"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will try, in order, and what it will not."""

    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]


def make_plan(
    info: SourceInfo, target: Target, optimize: OptimizeSection, runtimes: Sequence[Runtime] = RUNTIMES
) -> Plan:
    """Every candidate of every runtime that fits, in the precisions that the spec asks for (default: the target's).

    Where size is the goal, a CPU's weights may have 4 bits without being asked for. `[optimize] runtimes` narrows the
    `runtimes`, and brings those candidates too that they do not offer unasked. Where it names both, each runtime and
    precision that do not go together is rejected by name.

    Raises TargetError when the spec asks for a precision that the target lacks.
    """
    if target.unsupported is not None:
        return Plan((), (Rejection(target.id, target.unsupported),))
    candidates: list[Candidate] = []
    precisions = _choose_precisions(target, optimize, runtimes)
    rejected = _reject_lacking(target, optimize, precisions)
    asked = optimize.runtimes
    for runtime in runtimes:
        if asked is not None and runtime.name not in asked:
            continue
        if asked is None and optimize.precisions is not None and target.kind not in runtime.kinds:
            continue  # nobody who says what to try misses what is for other devices
        offered, refused = runtime.candidates(info, target, precisions)
        if asked and not offered and not refused:
            refused = (Rejection(runtime.name, _explain_silence(runtime, target, precisions)),)
        elif asked:
            refused += _reject_missing(runtime.name, optimize.precisions or (), offered, refused)
        held_back = {} if asked else runtime.on_request(info, target)
        tried = [candidate for candidate in offered if candidate.id not in held_back]
        candidates += tried
        rejected += [Rejection(c.id, held_back[c.id]) for c in offered if c.id in held_back]
        if tried or not offered:  # what else a runtime lacks matters where it is used
            rejected += refused
    whole = tuple(candidates)
    if optimize.prune is not None:
        pruned = prune_candidates(whole, optimize.prune) if info.geometry else ()
        candidates += pruned
        if not pruned:
            rejected.append(Rejection("pruned candidates", _explain_unpruned(info, target)))
    if optimize.distill is not None:
        graphs = {runtime.name for runtime in runtimes if runtime.reads == "graph"}
        trained = [candidate for candidate in whole if candidate.runtime in graphs]
        students, refused = _plan_students(info, optimize.distill.layers, trained)
        candidates += students
        rejected += refused
    return Plan(tuple(candidates), tuple(rejected))


def explain_nothing(target: Target) -> str:
    """Why a plan for `target` has no candidate, in one sentence."""
    if target.unsupported is not None:
        return target.unsupported
    return "no candidate is left of the plan" if target.kind != "neuron" else describe_lack(target.kind)


def describe_lack(kind: TargetKind) -> str:
    """What keeps every device of a `kind` from being built for."""
    return f"this version of pack has no runtime that compiles for {kind} devices"


def name_student(layers: int) -> str:
    """What the candidates of a student with so many layers begin with."""
    return f"student{layers}"


def _explain_unpruned(info: SourceInfo, target: Target) -> str:
    if info.geometry is None:
        return NO_GEOMETRY
    if target.kind not in OnnxRuntime().kinds:
        return f"{PRUNES_ON_CPUS}, and {target.name} is a {target.kind} device"
    return f"they are made of {' and '.join(PRUNABLE)}, and the plan has none of these"


def _plan_students(
    info: SourceInfo, layers: int, candidates: Sequence[Candidate]
) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
    """The `candidates`, tried on the model's student of `layers` too; or why there can be no student."""
    name = name_student(layers)
    if reason := _refuse_student(info, layers):
        return (), (Rejection(name, f"not distilled: {reason}"),)
    return tuple(replace(c, id=f"{name}-{c.id}", source="student") for c in candidates), ()


def _refuse_student(info: SourceInfo, layers: int) -> str | None:
    if info.origin == "onnx":
        return "an .onnx file cannot be trained; give the checkpoint that it was exported from"
    if info.geometry is None:
        return "its number of layers is not known before it is loaded"
    if not isinstance(info.preprocessing, TextPreprocessing):
        return "students are trained on text, and the model reads something else"
    if layers >= info.geometry.layers:
        return f"the model has {info.geometry.layers} layers, so a student can have {info.geometry.layers - 1} at most"
    return None


def explain_lacking(
    target: Target, optimize: OptimizeSection, runtimes: Sequence[Runtime] = RUNTIMES
) -> tuple[str, str] | None:
    """What `precisions` asks of a target that nothing there can do, and what can be done; None where all can be done.

    None, too, where nothing at all can be built for it. Where the spec names runtimes that fit, one of the precisions
    has to be one of theirs.
    """
    asked = optimize.precisions
    if asked is None or target.unsupported is not None:
        return None
    fitting = [runtime for runtime in runtimes if target.kind in runtime.kinds]
    named = [runtime for runtime in fitting if runtime.name in (optimize.runtimes or ())]
    can, usual = _list_precisions(target, fitting), _list_precisions(target, named or fitting)
    lacking = [precision for precision in asked if precision not in can]
    if not lacking and any(precision in usual for precision in asked):
        return None
    hint = f"pack has recipes for {', '.join(usual or can)} there"
    if not lacking:
        names = " and ".join(runtime.name for runtime in named)
        return f"{NO_RECIPE} with {names} ({', '.join(asked)} on {target.name})", hint
    has = (*target.native, *_list_stored(target), *_list_without_recipe(target))
    no_hardware = [precision for precision in lacking if precision not in has]
    no_recipe = [precision for precision in lacking if precision in has]
    said = [f"{target.name} ({target.id}) has no {', '.join(no_hardware)}"] if no_hardware else []
    said += [f"{NO_RECIPE} ({', '.join(no_recipe)} on {target.name})"] if no_recipe else []
    return "; ".join(said), hint


def explain_unfit(
    target: Target, optimize: OptimizeSection, runtimes: Sequence[Runtime] = RUNTIMES
) -> tuple[str, str] | None:
    """Why none of the runtimes that the spec names is for a target, and which are.

    None where one is, where the spec names none, and where no runtime at all is for it.
    """
    asked = optimize.runtimes
    fitting = [runtime.name for runtime in runtimes if _find_misfit(runtime, target) is None]
    if asked is None or target.unsupported is not None or not fitting or any(name in fitting for name in asked):
        return None
    reasons = [f"{r.name} {reason}" for r in runtimes if r.name in asked and (reason := _find_misfit(r, target))]
    *others, last = (f'"{name}"' for name in fitting)
    return "; ".join(reasons), f"did you mean {' or '.join([', '.join(others), last] if others else [last])}?"


def _list_precisions(target: Target, runtimes: Sequence[Runtime]) -> tuple[Precision, ...]:
    """Those of the target in which one of the `runtimes` has a recipe; all of them where no runtime is for its kind."""
    has = (*target.native, *_list_stored(target))
    known = {precision for runtime in runtimes for precision in runtime.precisions(target)}
    return tuple(precision for precision in has if precision in known) if runtimes else has


def _find_misfit(runtime: Runtime, target: Target) -> str | None:
    """Why a runtime has nothing for a target whatever the model is; None where it may have."""
    if target.kind not in runtime.kinds:
        return f"is for {' and '.join(runtime.kinds)} devices, and {target.name} is a {target.kind} device"
    if runtime.compiles_here_only and not target.is_here and target.id != HOST_GPU:
        return f"compiles for the device that it runs on alone, and {target.name} is elsewhere"
    return None


def _list_stored(target: Target) -> tuple[Precision, ...]:
    return STORED if target.kind == "cpu" else ()


def _list_without_recipe(target: Target) -> tuple[Precision, ...]:
    """Those that the hardware may have, and profiles do not say so, as nothing in pack would use it."""
    return WITHOUT_RECIPE if target.kind in ("cuda", "jetson") else ()


def _choose_precisions(target: Target, optimize: OptimizeSection, runtimes: Sequence[Runtime]) -> tuple[Precision, ...]:
    asked = optimize.precisions
    stored = _list_stored(target)
    if asked is None:
        return (*target.native, *stored) if optimize.goal == "size" else target.native
    if lack := explain_lacking(target, optimize, runtimes):
        message, hint = lack
        raise TargetError(f"[optimize] precisions: {message}", hint=hint)
    return asked


def _reject_lacking(target: Target, optimize: OptimizeSection, chosen: Sequence[Precision]) -> list[Rejection]:
    """One line for all the precisions that the device does not have; one for those that are for size alone; one for
    those that pack has no recipe for. None of them where the spec names the precisions that it wants."""
    if optimize.precisions is not None:
        return []
    stored, unused = _list_stored(target), _list_without_recipe(target)
    lacking = [precision for precision in PRECISIONS if precision not in (*target.native, *stored, *unused, *chosen)]
    rejected = [Rejection(", ".join(lacking), f"{target.name} has no hardware for it")] if lacking else []
    rejected += [Rejection(precision, NO_RECIPE) for precision in unused if precision not in target.native]
    return [*rejected, *(Rejection(precision, FOR_SIZE) for precision in stored if precision not in chosen)]


def _reject_missing(
    runtime: str, precisions: Sequence[Precision], offered: Sequence[Candidate], refused: Sequence[Rejection]
) -> tuple[Rejection, ...]:
    """One for each of the `precisions` in which a runtime neither offers anything nor says why not."""
    known = {candidate.precision for candidate in offered}
    return tuple(
        Rejection(f"{runtime}-{precision}", NOT_TOGETHER)
        for precision in precisions
        if precision not in known
        and not any(item.what == runtime or item.what.startswith(f"{runtime}-{precision}") for item in refused)
    )


def _explain_silence(runtime: Runtime, target: Target, precisions: Sequence[Precision]) -> str:
    """Why a runtime that the spec names has nothing for a target."""
    if misfit := _find_misfit(runtime, target):
        return misfit
    return f"pack has no recipe with it for this model in {', '.join(precisions)}"
