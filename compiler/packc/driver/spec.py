"""Builds every target of a spec, one after the other, and writes pack.lock."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packc.cache import IN_USE_S, Cache
from packc.driver.combine import NothingMeasured, combine_targets
from packc.driver.endings import BuildOptions, TargetResult
from packc.driver.inputs import gather_inputs, list_versions
from packc.driver.profiles import find_profiles
from packc.driver.target import build_target
from packc.errors import PackError, UsageError
from packc.ingest.fingerprint import hash_file
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo
from packc.package.combined_ways import list_faults
from packc.package.lock import LockedInput, LockedTarget, PackLock, write_lock
from packc.package.manifest import Manifest
from packc.package.manifest_file import read_manifest
from packc.spec.model import Spec, TargetSpec
from packc.spec.resolve import resolve_targets
from packc.target_profiles import find_target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TargetFailure:
    """A target that could not be built at all, and why."""

    target: str
    error: PackError


@dataclass(frozen=True, slots=True)
class TargetWaiting:
    """A combined package that cannot be yet, and what it waits for."""

    target: str
    error: NothingMeasured


Ending = TargetResult | TargetFailure | TargetWaiting
"""What became of a target, or of a combined package."""


def build_spec(
    spec: Spec, spec_path: Path, out: Path, options: BuildOptions, cache: Cache, only: Sequence[str] = ()
) -> list[Ending]:
    """Builds the targets named in `only` (empty: all) below `out`/<model>/; one that cannot be built costs only itself.

    Raises PackError for what concerns all of them: the model or a profile cannot be read.
    """
    chosen = find_profiles(spec, spec_path, find_target, only)
    info = inspect_source(spec.model)
    folder = out / spec.model.name
    results: list[Ending] = []
    for target, profile in chosen:
        if isinstance(profile, PackError):
            results.append(TargetFailure(target.target, profile))
            continue
        try:
            inputs = gather_inputs(target, profile, info, verify=options.verify)
            results.append(build_target(inputs, folder / target.target, options, cache))
        except Exception as error:
            results.append(_fail(target.target, error))
    for name, group in spec.combine.items():
        if any(target.target in group for target, _ in chosen):
            results.append(_combine(name, group, spec, spec_path, folder, options, cache))
    manifests = {result.target: result.manifest for result in results if isinstance(result, TargetResult)}
    if manifests:
        standing = {result.target for result in results if isinstance(result, TargetResult) and _is_in_place(result)}
        names = (*spec.targets, *spec.combine)
        manifests |= {name: found for name in names if name not in standing if (found := _recall(folder / name))}
        built = [manifests[name] for name in names if name in manifests]
        write_lock(folder, _make_lock(spec, spec_path, info, built))
    if any(not isinstance(result, TargetResult) or result.end != "unchanged" for result in results):
        cache.collect_garbage(spare_s=IN_USE_S)
    return results


def _combine(
    name: str, group: Sequence[str], spec: Spec, spec_path: Path, folder: Path, options: BuildOptions, cache: Cache
) -> Ending:
    """The package of several targets, of what their builds have left by now."""
    try:
        targets = [(target, find_target(spec.targets[target].profile, spec_path.parent)) for target in group]
        result = combine_targets(name, targets, folder, options, cache)
    except NothingMeasured as error:
        return TargetWaiting(name, error)
    except Exception as error:
        return _fail(name, error)
    for fault in list_faults(result.manifest.combined):
        log.warning("%s: %s", name, fault)
    return result


def _fail(target: str, error: Exception) -> TargetFailure:
    """What became of a target; a bug costs the other targets' results no more than an error of the user's."""
    log.debug("target %s", target, exc_info=error)
    if isinstance(error, PackError):
        return TargetFailure(target, error)
    return TargetFailure(
        target, PackError(f"this is a bug in pack: {error!r}", hint="`--verbose` shows where it happened")
    )


def _is_in_place(result: TargetResult) -> bool:
    """Whether it lies at the target's folder, not beside the package that an earlier build left there."""
    return result.folder.name == result.target


def _recall(package: Path) -> Manifest | None:
    """The manifest that an earlier build left for a target which this one passed over, or whose promises it missed."""
    try:
        return read_manifest(package)
    except UsageError:
        return None


def _make_lock(spec: Spec, spec_path: Path, info: SourceInfo, manifests: Sequence[Manifest]) -> PackLock:
    model = LockedInput("model", info.location, info.revision, info.fingerprint)
    inputs = (
        LockedInput("spec", str(spec_path), None, hash_file(spec_path)),
        model,
        *_lock_data(resolve_targets(spec)),
    )
    return PackLock(spec.model.name, inputs, list_versions(), tuple(_lock_target(manifest) for manifest in manifests))


def _lock_data(targets: Sequence[TargetSpec]) -> Iterator[LockedInput]:
    """The data files of all targets, each once. Folders are covered by their package's build key."""
    roles = {
        "quality data": [target.quality.data for target in targets],
        "calibration data": [target.calibration.data for target in targets],
        "workload data": [target.workload.data for target in targets],
        "distillation data": [distill.data for target in targets if (distill := target.optimize.distill)],
    }
    for role, paths in roles.items():
        for path in sorted({path for path in paths if path and Path(path).is_file()}):
            yield LockedInput(role, path, None, hash_file(Path(path)))


def _lock_target(manifest: Manifest) -> LockedTarget:
    chosen = next((record for record in manifest.candidates if record.id == manifest.verdict.chosen), None)
    serving = manifest.serving
    return LockedTarget(
        target=manifest.target,
        profile=manifest.profile,
        build_key=manifest.build_key,
        candidate=chosen.id if chosen else None,
        runtime=chosen.runtime if chosen else None,
        precision=chosen.precision if chosen else None,
        passes=chosen.passes if chosen else (),
        instances=serving.instances if serving else None,
        threads=serving.threads if serving else None,
        max_batch_size=serving.max_batch_size if serving else None,
        queue_delay_us=serving.queue_delay_us if serving else None,
        preferred_batch_sizes=serving.preferred_batch_sizes if serving else (),
        front=serving.front if serving else None,
        cuda_graphs=serving.cuda_graphs if serving else None,
        files=manifest.files,
    )
