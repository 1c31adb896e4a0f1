"""One folder of a Triton repository, before it is written: its configuration and its files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packc.package.model_config import VERSION, print_config

FileContent = str | bytes | Path
"""What a file holds, or the file that it is a copy of."""


@dataclass(frozen=True, slots=True)
class TritonModel:
    """A model that Triton loads."""

    config: Any
    """ModelConfig protobuf; its name is the folder's."""
    files: Mapping[str, FileContent] = field(default_factory=dict)
    """Path within the model's folder -> content."""

    @property
    def name(self) -> str:
        return str(self.config.name)


def version_path(file: str) -> str:
    """Path of `file` inside the version folder that a package carries."""
    return f"{VERSION}/{file}"


def write_models(models: tuple[TritonModel, ...], repository: Path) -> None:
    """Writes each model's folder below `repository`, which may not exist yet.

    Files are copied, never linked: whoever changes a package must not change what the cache holds.
    """
    for model in models:
        folder = repository / model.name
        (folder / str(VERSION)).mkdir(parents=True)
        (folder / "config.pbtxt").write_text(print_config(model.config))
        for path, content in model.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content.encode() if isinstance(content, str) else content)
