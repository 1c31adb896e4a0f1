"""The devices that a spec's targets name, and what the spec asks of them that they cannot do.

What is wrong with one target costs that target; what is wrong with the spec, such as a profile that nobody knows, costs
all, and every such mistake is told at once. Both name their line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from packc.errors import Diagnostic, MissingError, PackError, SpecError, TargetError
from packc.plan import explain_lacking, explain_unfit
from packc.spec.model import Spec, TargetSpec
from packc.spec.optimize import TensorRtSection
from packc.spec.read import read_places, read_spec
from packc.spec.resolve import resolve_targets
from packc.target import Target, TargetKind
from packc.target_profiles import find_target
from packc.toml.file import in_file_order, read_toml
from packc.toml.places import Loc, Places

log = logging.getLogger(__name__)

NVIDIA: tuple[TargetKind, ...] = ("cuda", "jetson")
AMPERE = (8, 0)
"""The first compute capability of that architecture."""

Found = Target | MissingError | SpecError
"""A target's device; or that it is not here, or what the spec asks of it in vain."""


def read_checked_spec(path: Path, find: Callable[[str, Path], Target] = find_target) -> Spec:
    """As `read_spec`; what its targets' devices have wrong is told with the other mistakes, and not once those are
    mended."""
    try:
        return read_spec(path)
    except SpecError as error:
        more = _check_document(path, find)
        raise SpecError(*in_file_order([*error.diagnostics, *more])) from None


def find_profiles(
    spec: Spec, path: Path, find: Callable[[str, Path], Target], only: Sequence[str] = ()
) -> list[tuple[TargetSpec, Found]]:
    """The targets named in `only` (empty: all) of the spec at `path`, each with its device as `find` knows it.

    Raises SpecError for profiles that are unknown and for other devices than GPUs in [combine].
    """
    places = read_places(path)
    grouped = {target for group in spec.combine.values() for target in group}
    mistakes: list[Diagnostic] = []
    found: list[tuple[TargetSpec, Found]] = []
    for target in resolve_targets(spec):
        name = target.target
        if only and name not in only and name not in grouped:
            continue
        try:
            device = find(target.profile, path.resolve().parent)
        except MissingError as error:
            found.append((target, error))
        except TargetError as error:
            mistakes.append(_point_at_profile(name, error, places))
        else:
            found.append((target, _refuse(target, device, places) or device))
            mistakes += _check_groups(spec.combine, name, device, places)
    if mistakes:
        raise SpecError(*in_file_order(mistakes))
    chosen = [(target, device) for target, device in found if not only or target.target in only]
    _remark_settings(chosen, places)
    return chosen


def _check_document(path: Path, find: Callable[[str, Path], Target]) -> list[Diagnostic]:
    """What `find_profiles` has against the devices of a spec that is wrong elsewhere, as far as it can be read."""
    try:
        file = read_toml(path, SpecError)
    except SpecError:
        return []
    targets, groups = file.data.get("targets"), file.data.get("combine")
    named = {name: g for name, g in groups.items() if isinstance(g, tuple)} if isinstance(groups, dict) else {}
    mistakes: list[Diagnostic] = []
    for name, section in targets.items() if isinstance(targets, dict) else ():
        profile = section.get("profile") if isinstance(section, dict) else None
        if not isinstance(profile, str) or not profile:
            continue
        try:
            mistakes += _check_groups(named, name, find(profile, path.resolve().parent), file.places)
        except TargetError as error:
            mistakes.append(_point_at_profile(name, error, file.places))
        except PackError:
            continue  # a device that is not here, or a profile that is wrong itself
    return mistakes


def _point_at_profile(target: str, error: TargetError, places: Places) -> Diagnostic:
    return Diagnostic(str(error), places.find_value(("targets", target, "profile")), error.hint)


def _check_groups(groups: Mapping[str, Sequence[str]], target: str, device: Target, places: Places) -> list[Diagnostic]:
    """One repository serves several NVIDIA GPUs, in the images of servers: no CPU, and no Jetson."""
    if device.kind == "cuda":
        return []
    hint = "one repository serves several NVIDIA GPUs; other devices have packages of their own"
    return [
        Diagnostic(
            f"[combine] {name}: {target} is {device.name}, a {device.kind} device",
            places.find_value(("combine", name, group.index(target))),
            hint,
        )
        for name, group in groups.items()
        if target in group
    ]


def _refuse(target: TargetSpec, device: Target, places: Places) -> SpecError | None:
    """What the spec asks of a device that it cannot do."""
    mistakes = []
    if unfit := explain_unfit(device, target.optimize):
        mistakes.append(_point_at(target, ("optimize", "runtimes"), *unfit, places))
    if lack := explain_lacking(device, target.optimize):
        mistakes.append(_point_at(target, ("optimize", "precisions"), *lack, places))
    asked, settings = target.optimize.runtimes, target.optimize.tensorrt
    capability = device.compute_capability or ""
    if settings.hardware_compatible == "ampere_plus" and "tensorrt" in (asked or ("tensorrt",)) and capability:
        major, minor = capability.split(".")
        if (int(major), int(minor)) < AMPERE:
            why = f'"ampere_plus" is for Ampere and later GPUs, and {device.name} is of {device.arch} ({capability})'
            where = ("optimize", "tensorrt", "hardware_compatible")
            mistakes.append(_point_at(target, where, why, 'leave it at "none" for this target', places))
    return SpecError(*in_file_order(mistakes)) if mistakes else None


def _point_at(target: TargetSpec, key: tuple[str, ...], message: str, hint: str, places: Places) -> Diagnostic:
    """A mistake in a value that the target overrides, or that all targets share."""
    own: Loc = ("targets", target.target, *key)
    if own in places.values:
        return Diagnostic(f"[targets.{target.target}] {'.'.join(key)}: {message}", places.find_value(own), hint)
    section = ".".join(key[:-1])
    return Diagnostic(f"[{section}] {key[-1]}: {message}", places.find_value(key), hint)


def _remark_settings(chosen: Sequence[tuple[TargetSpec, Found]], places: Places) -> None:
    """Settings of TensorRT where no target tries it say nothing, which is no mistake, and hardly what was meant."""
    setting = [target.target for target, _ in chosen if target.optimize.tensorrt != TensorRtSection()]
    devices = [(target, device) for target, device in chosen if isinstance(device, Target)]
    on_nvidia = [target for target, device in devices if device.kind in NVIDIA]
    tried = [target for target in on_nvidia if "tensorrt" in (target.optimize.runtimes or ("tensorrt",))]
    if not setting or tried or len(devices) < len(chosen):
        return
    why = "no target is an NVIDIA GPU"
    if on_nvidia:
        why = f"tensorrt is not among the runtimes of {', '.join(target.target for target in on_nvidia)}"
    own: Loc = ("targets", setting[0], "optimize", "tensorrt")
    span = places.find_key(own if own in places.keys else own[2:])
    log.warning("%s:%d: [optimize.tensorrt] says nothing here: %s", span.path, span.line, why)
