"""Rules about how answers leave the server: the response cache and decoupled models."""

from __future__ import annotations

from collections.abc import Iterator

from packc.errors import Diagnostic
from packc.package.lint.repository import LintedModel, Repository


def check_cache(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """The response cache goes with neither decoupled models nor sequences."""
    config = model.config
    if not config.response_cache.enable:
        return
    if config.model_transaction_policy.decoupled:
        yield model.error(("response_cache",), "the response cache does not work with a decoupled model")
    if config.HasField("sequence_batching"):
        yield model.error(("response_cache",), "the response cache does not work with sequence_batching")
    if model.backend in ("vllm", "tensorrtllm"):
        yield model.warning(("response_cache",), "a model that samples would repeat its first answer")
