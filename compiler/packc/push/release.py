"""A package in the form in which it is pushed: its models, checked, members before the model that clients call.

Members get the hash of their content as a suffix of their name, `minilm-model-3fa9c1d2`. So a push never touches what
serves: new members stand beside the old ones until the one model that clients call is switched to them, and what did
not change is not sent again. The model that clients call carries the hash of all of it as a parameter, by which a
server tells which release it serves.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packc.errors import PushError
from packc.ingest.fingerprint import hash_file
from packc.package.golden import GoldenSet, load_golden
from packc.package.lint import lint_repository
from packc.package.lint.repository import CONFIGS
from packc.package.manifest_file import check_files, read_manifest
from packc.package.schema import config_schema
from packc.server.replay import chosen_precision
from packc.tensors import Precision

log = logging.getLogger(__name__)

_CONFIG = "config.pbtxt"
_DIGEST_LENGTH = 8
_MEMBER = re.compile(rf"-[0-9a-f]{{{_DIGEST_LENGTH}}}$")
_PACKAGE_VERSION = "1"
_PARAMETER = "pack_release"


@dataclass(frozen=True, slots=True)
class ReleaseModel:
    """One Triton model to push."""

    config: Any
    """ModelConfig protobuf with the name it is pushed under."""
    files: Mapping[str, Path]
    """Path in the model's folder -> file, without config.pbtxt; version files below "1/"."""
    digest: str
    """Of its content, whatever its name."""
    configs: Mapping[str, Any] = field(default_factory=dict)
    """Path in the model's folder -> a configuration for servers of another --model-config-name, which has no name."""

    @property
    def name(self) -> str:
        return str(self.config.name)

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files.values())

    def files_at(self, version: int) -> dict[str, Path]:
        """`files` with the package's version folder renamed to `version`."""
        return {_at_version(path, version): file for path, file in self.files.items()}

    def renamed(self, name: str) -> ReleaseModel:
        config = config_schema().ModelConfig()
        config.CopyFrom(self.config)
        config.name = name
        return ReleaseModel(config, self.files, self.digest, self.configs)


@dataclass(frozen=True, slots=True)
class Release:
    """A package that may be pushed."""

    members: tuple[ReleaseModel, ...]
    """In the order in which they are to be loaded."""
    entry: ReleaseModel
    """The model that clients call; its steps name `members`."""
    golden: GoldenSet
    precision: Precision
    """Of the artifact, which sets the tolerance of golden answers."""

    @property
    def name(self) -> str:
        return self.entry.name


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a destination reports: the release is what it serves."""

    version: int
    models: tuple[str, ...]
    """Models that were sent, in order; none where it served this very release already."""
    golden_requests: int
    """Golden requests that it answered."""


def read_release(package: Path) -> Release:
    """The package in the folder `package`, after its hashes and its repository were checked.

    Raises PushError with everything that is wrong, UsageError when there is no package.
    """
    manifest = read_manifest(package)
    if problems := check_files(package, manifest):
        raise PushError(
            f"{package} is not as it was built:\n" + "\n".join(f"  {problem}" for problem in problems[:10]),
            hint="build it again; a package is never edited by hand",
        )
    repository = package / "model_repository"
    if errors := [found for found in lint_repository(repository) if found.severity == "error"]:
        raise PushError("the package's repository is not valid:\n" + "\n\n".join(e.render() for e in errors))
    if manifest.state != "verified":
        log.warning("%s was never verified by a real server (its state is %s)", package, manifest.state)
    if manifest.verdict.met is False:
        log.warning("%s misses a promise: %s", package, manifest.verdict.reasons[0])
    models = {path.name: _read_model(path) for path in sorted(repository.iterdir()) if path.is_dir()}
    entry = models.pop(manifest.model)
    for member in models.values():
        _check_python(member)
    new_names = {name: f"{name}-{member.digest}" for name, member in models.items()}
    for config in (entry.config, *entry.configs.values()):
        for step in config.ensemble_scheduling.step:
            step.model_name = new_names[step.model_name]
    entry.config.parameters[_PARAMETER].string_value = _digest([*new_names.values(), entry.digest])
    return Release(
        members=tuple(member.renamed(new_names[name]) for name, member in models.items()),
        entry=entry,
        golden=load_golden(package / "golden"),
        precision=chosen_precision(manifest),
    )


def release_of(config: Any) -> str:
    """Which release a model that clients call is of, by its configuration; "" where pack did not push it."""
    return str(config.parameters[_PARAMETER].string_value) if _PARAMETER in config.parameters else ""


def pushed_members(config: Any) -> set[str]:
    """Names of the members, made by an earlier push, that the ensemble `config` is made of."""
    names = (str(step.model_name) for step in config.ensemble_scheduling.step)
    return {name for name in names if _MEMBER.search(name) and name.startswith(f"{config.name}-")}


def _read_model(folder: Path) -> ReleaseModel:
    from google.protobuf import text_format

    text = (folder / _CONFIG).read_text(encoding="utf-8")
    config = text_format.Parse(text, config_schema().ModelConfig())
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _CONFIG
    }
    digest = hashlib.sha256(text.encode())
    for path, file in found.items():
        digest.update(f"{path}\0{hash_file(file)}\n".encode())
    configs = {
        path: text_format.Parse(file.read_text(encoding="utf-8"), config_schema().ModelConfig())
        for path, file in found.items()
        if path.startswith(f"{CONFIGS}/")
    }
    files = {path: file for path, file in found.items() if path not in configs}
    return ReleaseModel(config, files, digest.hexdigest()[:_DIGEST_LENGTH], configs)


def _check_python(model: ReleaseModel) -> None:
    """A Python model without model.py makes a server's load hang for ever."""
    if model.config.backend == "python" and f"{_PACKAGE_VERSION}/model.py" not in model.files:
        raise PushError(f"model '{model.name}' is a Python model without {_PACKAGE_VERSION}/model.py")


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _at_version(path: str, version: int) -> str:
    folder, _, rest = path.partition("/")
    return f"{version}/{rest}" if rest and folder == _PACKAGE_VERSION else path
