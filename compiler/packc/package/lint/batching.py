"""Rules about batching and its queue."""

from __future__ import annotations

from collections.abc import Iterator

from packc.errors import Diagnostic
from packc.package.lint.positions import FieldPath
from packc.package.lint.repository import LintedModel, Repository


def check_max_batch_size(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """It is not negative."""
    if model.config.max_batch_size < 0:
        yield model.error(("max_batch_size",), "max_batch_size is negative", "0 means that the model does not batch")


def check_scheduler(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A model that can batch has something that batches, and one that cannot has not."""
    config = model.config
    scheduler = config.WhichOneof("scheduling_choice")
    if scheduler is None and config.max_batch_size > 1 and not model.is_ensemble:
        yield model.warning(
            ("max_batch_size",),
            "requests are never batched together: there is no scheduler",
            "add dynamic_batching { }",
        )
    if scheduler == "dynamic_batching" and config.max_batch_size == 0:
        yield model.warning(("dynamic_batching",), "it does nothing: max_batch_size is 0")


def check_preferred_sizes(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Preferred batch sizes are possible ones."""
    config = model.config
    oldest: FieldPath = ("sequence_batching", 0, "oldest", 0)
    for path, sizes in (
        (("dynamic_batching", 0), config.dynamic_batching.preferred_batch_size),
        (oldest, config.sequence_batching.oldest.preferred_batch_size),
    ):
        for i, size in enumerate(sizes):
            where = (*path, "preferred_batch_size", i)
            if size <= 0:
                yield model.error(where, f"a preferred batch size of {size} is not positive")
            elif size > config.max_batch_size:
                yield model.error(where, f"{size} exceeds max_batch_size, which is {config.max_batch_size}")


def check_priorities(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """The default and the listed priority levels exist."""
    batching = model.config.dynamic_batching
    levels = batching.priority_levels
    if levels and not 1 <= batching.default_priority_level <= levels:
        yield model.error(
            ("dynamic_batching", 0, "default_priority_level"),
            f"default_priority_level is {batching.default_priority_level}, the levels are 1 to {levels}",
        )
    for level in sorted(batching.priority_queue_policy):
        if levels and not 1 <= level <= levels:
            where = model.entry(("dynamic_batching", 0, "priority_queue_policy"), str(level))
            yield model.error((*where, "key"), f"there is no priority level {level}: they are 1 to {levels}")


def check_ordering(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Answers in the order of requests exclude priorities and delayed requests."""
    batching = model.config.dynamic_batching
    if not batching.preserve_ordering:
        return
    where: FieldPath = ("dynamic_batching", 0, "preserve_ordering")
    if batching.priority_levels > 1:
        yield model.error(where, "preserve_ordering allows one priority level, not several")
    policies = [batching.default_queue_policy, *batching.priority_queue_policy.values()]
    if any(policy.default_timeout_microseconds and policy.timeout_action == policy.DELAY for policy in policies):
        yield model.error(where, "preserve_ordering excludes timeout_action: DELAY", "use REJECT")
