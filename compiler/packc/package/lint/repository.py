"""The repository under the linter: each model's configuration with the places of its fields, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packc.errors import Diagnostic, Severity, Span
from packc.package.lint.positions import FieldPath, Place, find_entry, find_place, locate_fields
from packc.package.schema import config_schema

CONFIG = "config.pbtxt"
CONFIGS = "configs"
"""Folder of a model with configurations that a server's --model-config-name chooses instead."""


@dataclass(frozen=True, slots=True)
class LintedModel:
    """One model folder whose configuration parses."""

    folder: Path
    config: Any
    """ModelConfig protobuf, as written."""
    lines: tuple[str, ...]
    places: Mapping[FieldPath, Place]
    path: Path
    """Of the configuration."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def backend(self) -> str:
        """The backend that will run it: from `backend`, the older `platform`, or a file's name; "" when none tells."""
        if self.config.backend or self.config.platform:
            return str(self.config.backend) or BACKENDS.get(self.config.platform, "")
        names = {path.name for folder in self.versions() for path in folder.iterdir()}
        return next((backend for backend, file in MODEL_FILES.items() if file in names), "")

    @property
    def is_ensemble(self) -> bool:
        return bool(self.config.platform == "ensemble" or self.config.HasField("ensemble_scheduling"))

    @property
    def is_batched(self) -> bool:
        return int(self.config.max_batch_size) > 0

    def parameter(self, key: str) -> str:
        """A parameter's text; "" when it is not written."""
        value = self.config.parameters.get(key)
        return str(value.string_value) if value is not None else ""

    def versions(self) -> list[Path]:
        """Version folders, oldest first."""
        folders = (path for path in self.folder.iterdir() if path.is_dir() and _is_version(path.name))
        return sorted(folders, key=lambda path: int(path.name))

    def error(self, path: FieldPath, message: str, hint: str | None = None) -> Diagnostic:
        """A mistake at the field `path`: Triton refuses the model, or its answers are wrong."""
        return self._diagnose(path, message, hint, "error")

    def warning(self, path: FieldPath, message: str, hint: str | None = None) -> Diagnostic:
        """Something at the field `path` that loads, but does not do what it seems to."""
        return self._diagnose(path, message, hint, "warning")

    def entry(self, path: FieldPath, key: str) -> FieldPath:
        """The path of the entry with `key` in the map field `path`."""
        return find_entry(self.places, path, key)

    def _diagnose(self, path: FieldPath, message: str, hint: str | None, severity: Severity) -> Diagnostic:
        place = find_place(self.places, path) or Place(1, 1, "")
        text = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        span = Span(self.path, place.line, place.column, len(place.text), text)
        return Diagnostic(message, span, hint, severity)


Repository = Mapping[str, LintedModel]
"""Models by name, those alone whose configuration parses."""

BACKENDS = {
    "ensemble": "",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "torch_aoti": "pytorch",
}
"""`platform` -> the `backend` that it stands for."""

MODEL_FILES = {
    "onnxruntime": "model.onnx",
    "openvino": "model.xml",
    "python": "model.py",
    "pytorch": "model.pt",
    "tensorrt": "model.plan",
    "vllm": "model.json",
}
"""Backend -> the file that it loads from a version folder when no other is named."""

AOTI_FILE = "model.pt2"
"""What the pytorch backend loads instead for the platform torch_aoti (Triton 26.03 and newer)."""


def read_repository(folder: Path, config_name: str | None = None) -> tuple[Repository, list[Diagnostic]]:
    """Every model of the repository in `folder`, and what keeps the others from being read.

    With `config_name`, as a server reads it that was started with that --model-config-name.
    """
    models, problems = {}, []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        model = _read_model(path, config_name)
        if isinstance(model, Diagnostic):
            problems.append(model)
        else:
            models[path.name] = model
    return models, problems


def list_config_names(folder: Path) -> list[str]:
    """Names of the configurations beside config.pbtxt that some model of the repository has."""
    return sorted({path.stem for path in folder.glob(f"[!.]*/{CONFIGS}/*.pbtxt")})


def _read_model(folder: Path, config_name: str | None) -> LintedModel | Diagnostic:
    from google.protobuf import text_format

    named = folder / CONFIGS / f"{config_name}.pbtxt"
    path = named if config_name is not None and named.is_file() else folder / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Diagnostic(
            f"{folder} has no {CONFIG}",
            hint="write one: a server started with --disable-auto-complete-config, as it should be, guesses nothing",
        )
    except UnicodeDecodeError as error:
        return Diagnostic(f"{path} is not UTF-8 text: {error}")
    lines = tuple(text.split("\n"))
    config = config_schema().ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        return _explain_parse_error(path, lines, error)
    return LintedModel(folder, config, lines, locate_fields(text), path)


def _explain_parse_error(path: Path, lines: tuple[str, ...], error: Any) -> Diagnostic:
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    text = lines[line - 1] if line <= len(lines) else ""
    message = str(error).removeprefix(f"{line}:{column} : ")
    message = message.removeprefix(f"'{text}': ").removeprefix(f"'{text.strip()}': ")
    hint = None
    if 'Expected "{"' in message and "value" in text:
        hint = 'a parameter\'s value is a message: value: { string_value: "1" }'
    elif "oneof" in message:
        hint = "a model has one scheduler: dynamic_batching, sequence_batching or ensemble_scheduling"
    return Diagnostic(message, Span(path, line, column, 1, text), hint)


def _is_version(name: str) -> bool:
    """Triton ignores folders that are not numbers or start with a zero."""
    return name.isascii() and name.isdigit() and not name.startswith("0")
