"""One package for several GPUs: `[combine]` of the spec, made of the packages that its targets have already.

The first target with a package is the base: the combined one is that package, and the others join its repository. A
target that was measured brings its own artifact and configuration. One that was only built brings the artifact of a job
bundle, served as the base is: nothing was measured of it, and its state says so. Every target keeps its own figures,
in targets/<target>/manifest.json.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packc import __version__
from packc.cache import Cache, cache_key
from packc.driver.combined_files import add_files
from packc.driver.endings import BuildOptions, TargetResult, publish_package
from packc.driver.job_folder import JOB_FOLDER
from packc.driver.members import REPOSITORY, Member, read_members
from packc.errors import MissingError, PackError, UsageError
from packc.ingest.fingerprint import hash_file
from packc.jobs.bundle import read_job
from packc.package.combine import Bundle, LeftOut, Part, Placed, combine_repository, find_artifact
from packc.package.combined_readme import write_readme
from packc.package.lint import lint_repository
from packc.package.manifest import CandidateRecord, CombinedRecord, Manifest
from packc.package.manifest_file import MANIFEST, check_files, read_manifest
from packc.package.publish import staging_dir
from packc.runtimes import find_runtime
from packc.server.replay import chosen_precision
from packc.server.verify import recall_workload, verify_package
from packc.serving.plan import set_graphs
from packc.target import Target

log = logging.getLogger(__name__)

_LEFT_BEHIND = shutil.ignore_patterns("report.html", "__pycache__")
NOTHING_MEASURED = "has not run on that GPU yet"
NOT_JUDGED = "and its answers were not judged"
OTHER_MODEL = "its build is of another model: build it again"


class NothingMeasured(MissingError):
    """A combined package waits for its first target that is measured: nothing is wrong."""


def combine_targets(
    name: str, targets: Sequence[tuple[str, Target]], folder: Path, options: BuildOptions, cache: Cache
) -> TargetResult:
    """Makes `folder`/<name> of the builds of `targets` below `folder`, or finds it there unchanged.

    All are NVIDIA GPUs, as `find_profiles` has seen to. Raises NothingMeasured where none of them has a package yet.
    """
    members, missing = read_members(targets, folder)
    base = next((member for member in members if member.has_package), None)
    if base is None:
        raise NothingMeasured(
            f"none of {', '.join(target for target, _ in targets)} was measured yet",
            hint="run the job bundles of one of them on its GPU and `pack import` them, or build where the GPU is",
        )
    others = [member for member in members if member is not base]
    final = folder / name
    key = _make_key(base, others, missing, options)
    if (current := _find_current(final, key)) is not None:
        log.info("%s: nothing changed since it was combined", name)
        return TargetResult(name, "unchanged", final, current)
    with staging_dir(final) as staging:
        shutil.copytree(base.folder, staging, dirs_exist_ok=True, ignore=_LEFT_BEHIND)
        (staging / MANIFEST).unlink()
        parts, unfit = _make_parts(others, base)
        capability = base.profile.compute_capability or ""
        found = combine_repository(staging / REPOSITORY, capability, [part for part, _ in parts])
        check_repository(staging / REPOSITORY)
        chosen = {part.target: candidate for part, candidate in parts}
        records = _record(base, others, [*found, *unfit], chosen, missing)
        bringing = add_files(staging, name, base, others, records)
        manifest = _verify(replace(base.manifest, target=name, build_key=key), base, staging, options, cache)
        records = (replace(records[0], is_loaded=manifest.state == "verified"), *records[1:])
        readme = staging / "README.md"
        readme.write_text(write_readme(readme.read_text(), manifest.model, name, base.target, records, bringing))
        return publish_package(staging, final, replace(manifest, combined=records))


def _make_key(
    base: Member, others: Sequence[Member], missing: Sequence[tuple[str, Target]], options: BuildOptions
) -> str:
    """Digest of all that decides a combined package: whose builds it is made of, how, and what can be done here."""
    return cache_key(
        members=[
            (member.target, member.profile.id, member.profile.compute_capability, hash_file(member.folder / MANIFEST))
            for member in (base, *others)
        ],
        missing=[(target, profile.id, profile.compute_capability) for target, profile in missing],
        verify=_can_verify(base, options),
        version=__version__,
    )


def _find_current(final: Path, key: str) -> Manifest | None:
    try:
        manifest = read_manifest(final)
        return manifest if manifest.build_key == key and not check_files(final, manifest) else None
    except (UsageError, OSError):
        return None


def _make_parts(others: Sequence[Member], base: Member) -> tuple[list[tuple[Part, CandidateRecord]], list[LeftOut]]:
    """What each of the others brings, and which of its candidates that is."""
    parts, unfit = [], []
    for member in others:
        capability = member.profile.compute_capability or ""
        if member.manifest.source_digest != base.manifest.source_digest or not base.manifest.source_digest:
            unfit.append(LeftOut(member.target, OTHER_MODEL))
            continue
        if member.has_package:
            candidate = _find_candidate(member.manifest, member.manifest.verdict.chosen or "")
            parts.append((Part(member.target, capability, member.folder / REPOSITORY), candidate))
            continue
        built = _choose_built(member, base)
        if built is None:
            unfit.append(LeftOut(member.target, "no candidate of the first target's runtime was built for it"))
            continue
        job = read_job(member.folder / JOB_FOLDER / built.id)
        serving = base.manifest.serving
        assert serving is not None, "a package says how it is served"
        bundle = Bundle(
            member.folder / JOB_FOLDER / built.id / job.model,
            set_graphs(job.options, cuda_graphs=serving.cuda_graphs),
            find_runtime(built.runtime),
            serving.threads,
        )
        parts.append((Part(member.target, capability, bundle), built))
    return parts, unfit


def _choose_built(member: Member, base: Member) -> CandidateRecord | None:
    """Of the candidates with a bundle in the base's runtime, those first whose answers were judged: the base's own
    choice, else one of its precision, else another one than the model as exported; of several, the one whose floor is
    estimated lowest, which comes first."""
    best = _find_candidate(base.manifest, base.manifest.verdict.chosen or "")
    built = [
        record
        for record in member.manifest.candidates
        if record.status == "built"
        and record.failure is None
        and record.runtime == best.runtime
        and (member.folder / JOB_FOLDER / record.id).is_dir()
    ]
    return min(
        built,
        key=lambda r: (not _is_judged(r), r.id != best.id, r.precision != best.precision, not r.passes),
        default=None,
    )


def _is_judged(candidate: CandidateRecord) -> bool:
    return candidate.measurements is not None and candidate.measurements.quality is not None


def _find_candidate(manifest: Manifest, name: str) -> CandidateRecord:
    return next(record for record in manifest.candidates if record.id == name)


def _record(
    base: Member,
    others: Sequence[Member],
    found: Sequence[Placed | LeftOut],
    chosen: dict[str, CandidateRecord],
    missing: Sequence[tuple[str, Target]],
) -> tuple[CombinedRecord, ...]:
    places = {item.target: item for item in found}
    artifact = find_artifact(base.folder / REPOSITORY).name
    best = _find_candidate(base.manifest, base.manifest.verdict.chosen or "")
    records = [_record_one(base, best, Placed(base.target, artifact, "default"))]
    records += [_record_one(member, chosen.get(member.target), places[member.target]) for member in others]
    for target, profile in missing:
        capability = profile.compute_capability or ""
        remark = "there is no build of it yet"
        records.append(CombinedRecord(target, profile.id, capability, "planned", None, None, None, "", remark=remark))
    return tuple(records)


def _record_one(member: Member, candidate: CandidateRecord | None, place: Placed | LeftOut) -> CombinedRecord:
    served, verdict = member.manifest.served, member.manifest.verdict
    is_in = isinstance(place, Placed)
    if isinstance(place, LeftOut):
        remark = place.reason
    elif member.has_package:
        remark = ""
    else:
        remark = NOTHING_MEASURED if candidate and _is_judged(candidate) else f"{NOTHING_MEASURED}, {NOT_JUDGED}"
    return CombinedRecord(
        target=member.target,
        profile=member.profile.id,
        compute_capability=member.profile.compute_capability or "",
        state=member.manifest.state,
        candidate=candidate.id if candidate and is_in else None,
        precision=candidate.precision if candidate and is_in else None,
        file=place.file if isinstance(place, Placed) else None,
        chosen_by=place.chosen_by if isinstance(place, Placed) else "",
        latency_ms=served.latency_ms if served else None,
        percentile=served.percentile if served else None,
        throughput_per_s=served.throughput_per_s if served else None,
        remark=remark,
        missed=tuple(miss.promise for miss in verdict.nearest if is_in and miss.candidate == verdict.chosen),
    )


def check_repository(repository: Path) -> None:
    """Raises PackError where a server would refuse the combined repository."""
    if errors := [found for found in lint_repository(repository) if found.severity == "error"]:
        raise PackError("the combined repository is not valid:\n" + "\n\n".join(error.render() for error in errors))


def _can_verify(base: Member, options: BuildOptions) -> bool:
    return options.verify and not options.urls and base.profile.is_here


def _verify(manifest: Manifest, base: Member, staging: Path, options: BuildOptions, cache: Cache) -> Manifest:
    """The manifest with what a real server says of the base in the new repository; no more than `measured` without."""
    if not _can_verify(base, options):
        return replace(manifest, state="measured", served=None)
    workload, precision = recall_workload(base.manifest), chosen_precision(base.manifest)
    verified = verify_package(staging, manifest.model, workload, precision, cache=cache)
    return replace(manifest, state="verified", served=verified.record)
