"""Loads a source model in its own framework, whichever way it was given. For child processes: it takes its memory."""

from __future__ import annotations

from collections.abc import Sequence

from packc.ingest.load_checkpoint import Attention, load_checkpoint
from packc.ingest.load_factory import load_factory
from packc.ingest.reference import TorchReference
from packc.ingest.source import SourceInfo


def load_source(info: SourceInfo, search_path: Sequence[str], attention: Attention = "eager") -> TorchReference:
    """The PyTorch module of a checkpoint, its attention computed as `attention` says, or of a factory.

    Raises SourceError when it cannot be loaded, ValueError when the checkpoint's class lacks that attention.
    """
    if info.origin == "torch":
        return load_factory(info, search_path)
    return load_checkpoint(info, attention)
