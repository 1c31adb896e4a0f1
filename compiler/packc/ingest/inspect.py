"""Looks at the model that a spec names: what it is, how large, what it reads. No weight is loaded."""

from __future__ import annotations

from pathlib import Path

from packc.errors import SourceError
from packc.ingest.checkpoint import inspect_checkpoint
from packc.ingest.hub import HUB_ID, resolve_hub_id
from packc.ingest.onnx_file import inspect_onnx
from packc.ingest.source import SourceInfo
from packc.ingest.torch_module import FACTORY, inspect_factory
from packc.ingest.weights import PICKLE_SUFFIXES, pickle_error
from packc.spec.model import ModelSection

SOURCE_KINDS = "a checkpoint folder, a hub id, an .onnx file or 'package.module:factory'"


def inspect_source(model: ModelSection) -> SourceInfo:
    """What is known of `model` before it is loaded. Raises SourceError, which says how to mend it.

    `model.source` is tried as a folder or file first, then as a factory, then as a hub id.
    """
    path = Path(model.source).expanduser()
    if path.is_dir():
        return inspect_checkpoint(path.absolute(), model)
    if path.is_file():
        if path.suffix == ".onnx":
            return inspect_onnx(path.absolute(), model)
        if path.suffix in PICKLE_SUFFIXES:
            raise pickle_error(path)
        raise SourceError(f"{path} is a file that pack does not know", hint=f"give {SOURCE_KINDS}")
    if FACTORY.fullmatch(model.source):
        return inspect_factory(model.source, model)
    if path.is_absolute() or path.suffix == ".onnx" or not HUB_ID.fullmatch(model.source):
        raise SourceError(
            f"there is no model at {path}",
            hint=f"give {SOURCE_KINDS}; paths are relative to the spec file" + _did_you_mean(path),
        )
    folder = resolve_hub_id(model.source, model.revision, with_code=model.trust_remote_code)
    return inspect_checkpoint(folder, model)


def _did_you_mean(path: Path) -> str:
    """For `.../owner/name` that does not exist, the hub id that it could have been meant as."""
    candidate = "/".join(path.parts[-2:])
    if path.suffix != ".onnx" and not path.parent.exists() and HUB_ID.fullmatch(candidate):
        return f"; did you mean the hub id {candidate!r}?"
    return ""
