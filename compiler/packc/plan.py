"""Spec x Target -> Plan: which candidates are worth building, and why the others are not. A pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packc.candidate import Candidate, Rejection
from packc.errors import TargetError
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.runtimes import RUNTIMES
from packc.runtimes.onnxruntime import prune_candidates
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
    precisions = _choose_precisions(target, optimize)
    rejected = _reject_lacking(target, optimize, precisions)
    asked = optimize.runtimes
    for runtime in runtimes:
        if asked is not None and runtime.name not in asked:
            continue
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
            why = "no ONNX Runtime candidate for it is in the plan" if info.geometry else NO_GEOMETRY
            rejected.append(Rejection("pruned candidates", why))
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


def explain_lacking(target: Target, optimize: OptimizeSection) -> tuple[str, str] | None:
    """What `precisions` asks of a target that it cannot do, and what it can; None where it can all, or nothing at all
    can be built for it."""
    can = (*target.native, *_list_stored(target))
    lacking = [precision for precision in optimize.precisions or () if precision not in can]
    if not lacking or target.unsupported is not None:
        return None
    no_recipe = [precision for precision in lacking if precision in _list_without_recipe(target)]
    no_hardware = [precision for precision in lacking if precision not in no_recipe]
    said = [f"{target.name} ({target.id}) has no {', '.join(no_hardware)}"] if no_hardware else []
    said += [f"{NO_RECIPE} ({', '.join(no_recipe)} on {target.name})"] if no_recipe else []
    return "; ".join(said), f"it has {', '.join(can)}"


def _list_stored(target: Target) -> tuple[Precision, ...]:
    return STORED if target.kind == "cpu" else ()


def _list_without_recipe(target: Target) -> tuple[Precision, ...]:
    """Those that the hardware may have, and profiles do not say so, as nothing in pack would use it."""
    return WITHOUT_RECIPE if target.kind in ("cuda", "jetson") else ()


def _choose_precisions(target: Target, optimize: OptimizeSection) -> tuple[Precision, ...]:
    asked = optimize.precisions
    stored = _list_stored(target)
    if asked is None:
        return (*target.native, *stored) if optimize.goal == "size" else target.native
    if lack := explain_lacking(target, optimize):
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
    if target.kind not in runtime.kinds:
        return f"is for {' and '.join(runtime.kinds)} devices, and {target.name} is a {target.kind} device"
    return f"pack has no recipe with it for this model in {', '.join(precisions)}"
