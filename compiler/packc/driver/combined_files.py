"""What belongs beside the repository of a combined package: records of its targets, SBOM, and the container side."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from packc.driver.members import REPOSITORY, Member
from packc.package import sbom
from packc.package.combine import find_artifact, find_graph, read_configs
from packc.package.combined_needs import brings_code, read_requirement
from packc.package.docker import list_python_packages, write_docker
from packc.package.golden import load_golden
from packc.package.manifest import CombinedRecord
from packc.package.manifest_file import MANIFEST

TARGETS = "targets"


def add_files(
    staging: Path, name: str, base: Member, others: Sequence[Member], records: Sequence[CombinedRecord]
) -> list[str]:
    """Writes what belongs beside the repository of the package `name` in `staging`.

    That is each target's own record, its artifact in the SBOM, and a Dockerfile for all of them. Returns the targets
    whose engines bring code of their own, which a server has to allow.
    """
    served = {record.target for record in records if record.file}
    for member in (base, *others):
        folder = staging / TARGETS / member.target
        folder.mkdir(parents=True)
        shutil.copyfile(member.folder / MANIFEST, folder / MANIFEST)
        if member is not base and member.has_package and member.target in served:
            shutil.copytree(member.folder / "golden", folder / "golden")
    version = find_artifact(staging / REPOSITORY).parent
    used = sorted({record.file for record in records[1:] if record.file} - {records[0].file})
    sbom.add_files(staging / "sbom.cdx.json", {file: version / file for file in used})
    bringing = [record.target for record in records if record.file and brings_code(version / record.file)]
    _write_image(staging, name, base, brings_code=bool(bringing))
    return bringing


def _write_image(staging: Path, name: str, base: Member, *, brings_code: bool) -> None:
    """Dockerfile and compose.yaml of a server that loads what any of the targets has.

    All have one requirement, or they would not be in it; a native backend of Triton's image has its library there.
    """
    configs = read_configs(staging / REPOSITORY)
    graph = configs[find_graph(configs)]
    write_docker(
        staging,
        base.manifest.model,
        name,
        list_python_packages(load_golden(staging / "golden").pipeline, None),
        read_requirement(graph) or None if graph.backend == "python" else None,
        "gpu",
        cache=any(config.response_cache.enable for config in configs.values()),
        brings_code=brings_code,
        versions=base.manifest.environment,
    )
