"""Rules about ensembles: their steps, and the tensors that flow between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packc.errors import Diagnostic
from packc.package.lint.positions import FieldPath
from packc.package.lint.repository import LintedModel, Repository
from packc.package.lint.tensors import type_name

_STEP = "ensemble_scheduling"


def _steps(model: LintedModel) -> list[tuple[FieldPath, Any]]:
    return [((_STEP, 0, "step", i), step) for i, step in enumerate(model.config.ensemble_scheduling.step)]


def check_ensemble_form(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """platform "ensemble", no backend, steps, and none of the settings of a model that computes itself."""
    config = model.config
    if not model.is_ensemble:
        return
    if config.platform != "ensemble":
        yield model.error(("platform",), 'a model with ensemble_scheduling has platform: "ensemble"')
    if config.backend:
        yield model.error(("backend",), "an ensemble has no backend", "leave it out")
    if not config.ensemble_scheduling.step:
        yield model.error((_STEP,), "the ensemble has no step")
    for field in ("instance_group", "model_warmup"):
        if getattr(config, field):
            yield model.error((field,), f"an ensemble has no {field}", "give it to the members")
    if config.HasField("optimization"):
        yield model.error(("optimization",), "an ensemble has no optimization", "give it to the members")


def check_members(model: LintedModel, repository: Repository) -> Iterator[Diagnostic]:
    """Every step's model is in the repository, in the version that the step asks for."""
    for path, step in _steps(model):
        member = repository.get(step.model_name)
        if not step.model_name:
            yield model.error(path, "a step has no model_name")
        elif member is None:
            if not (model.folder.parent / step.model_name).is_dir():
                names = ", ".join(sorted(name for name in repository if name != model.name))
                yield model.error(
                    (*path, "model_name"), f'there is no model "{step.model_name}"', f"there is {names or 'no other'}"
                )
        elif step.model_version > 0 and str(step.model_version) not in {v.name for v in member.versions()}:
            yield model.error((*path, "model_version"), f"{member.name} has no version {step.model_version}")


def check_member_batches(model: LintedModel, repository: Repository) -> Iterator[Diagnostic]:
    """No member batches less than the ensemble promises."""
    for _path, step in _steps(model):
        member = repository.get(step.model_name)
        if member and 0 < member.config.max_batch_size < model.config.max_batch_size:
            yield model.error(
                ("max_batch_size",),
                f"max_batch_size {model.config.max_batch_size} exceeds that of {member.name}, "
                f"which is {member.config.max_batch_size}",
            )


def check_step_maps(model: LintedModel, repository: Repository) -> Iterator[Diagnostic]:
    """A step maps all of its model's inputs, at least one output, and no tensor that the model lacks."""
    for path, step in _steps(model):
        if not step.output_map:
            yield model.error(path, f"the step of {step.model_name} maps no output")
        member = repository.get(step.model_name)
        if member is None:
            continue
        for side, mapped in (("input", step.input_map), ("output", step.output_map)):
            tensors = {tensor.name: tensor for tensor in getattr(member.config, side)}
            for name in sorted(set(mapped) - set(tensors)):
                yield model.error(
                    (*model.entry((*path, f"{side}_map"), name), "key"),
                    f'{member.name} has no {side} "{name}"',
                    f"it has {', '.join(sorted(tensors))}; the key is the member's tensor, the value the ensemble's",
                )
            if side == "input":
                for name in sorted(set(tensors) - set(mapped)):
                    if not tensors[name].optional:
                        yield model.error(path, f'input "{name}" of {member.name} is not mapped')


def check_flow(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Every tensor is made once before it is used, and used once it is made."""
    if not model.is_ensemble or not _steps(model):
        return
    inputs = [tensor.name for tensor in model.config.input]
    outputs = [tensor.name for tensor in model.config.output]
    made: dict[str, FieldPath] = {}
    for path, step in _steps(model):
        for key, wire in sorted(step.output_map.items()):
            where = (*model.entry((*path, "output_map"), key), "value")
            if wire in made or wire in inputs:
                yield model.error(where, f'the tensor "{wire}" is made twice')
            made.setdefault(wire, where)
    used = {wire for _, step in _steps(model) for wire in step.input_map.values()}
    for i, name in enumerate(inputs):
        if name not in used:
            yield model.error(("input", i, "name"), f'no step uses the input "{name}"')
    for i, name in enumerate(outputs):
        if name not in made:
            yield model.error(("output", i, "name"), f'no step makes the output "{name}"')
    for wire, where in made.items():
        if wire not in used and wire not in outputs:
            yield model.error(where, f'nothing uses the tensor "{wire}"', "leave the entry out of output_map")
    yield from _check_reachable(model, set(inputs), set(made))


def _check_reachable(model: LintedModel, ready: set[str], made: set[str]) -> Iterator[Diagnostic]:
    """Steps whose inputs nothing makes, or that wait for each other."""
    waiting = _steps(model)
    while runnable := [(path, step) for path, step in waiting if set(step.input_map.values()) <= ready]:
        ready |= {wire for _, step in runnable for wire in step.output_map.values()}
        waiting = [item for item in waiting if item not in runnable]
    for path, step in waiting:
        for key, wire in sorted(step.input_map.items()):
            where = (*model.entry((*path, "input_map"), key), "value")
            if wire not in ready | made:
                yield model.error(where, f'nothing makes the tensor "{wire}"')
            elif wire not in ready:
                yield model.error(where, f'"{wire}" is never made: its step waits for another that does not run')


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a wire: what one model says of the tensor."""

    model: str
    data_type: int
    dims: tuple[int, ...]
    batched: bool


def check_wires(model: LintedModel, repository: Repository) -> Iterator[Diagnostic]:
    """Both ends of every wire agree on type and shape."""
    ends: dict[str, _End] = {}
    for side in ("input", "output"):
        for tensor in getattr(model.config, side):
            dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            ends[tensor.name] = _End(model.name, tensor.data_type, tuple(dims), model.is_batched)
    for path, step in _steps(model):
        member = repository.get(step.model_name)
        if member is None:
            continue
        for side, mapped in (("output", step.output_map), ("input", step.input_map)):
            yield from _check_side(model, (*path, f"{side}_map"), member, _tensors(member, side), mapped, ends)


def _check_side(
    model: LintedModel,
    path: FieldPath,
    member: LintedModel,
    tensors: Mapping[str, Any],
    mapped: Mapping[str, str],
    ends: dict[str, _End],
) -> Iterator[Diagnostic]:
    for key, wire in sorted(mapped.items()):
        if key not in tensors:
            continue
        here = _end(member, tensors[key])
        there = ends.setdefault(wire, here)
        where = (*model.entry(path, key), "value")
        if here.data_type != there.data_type:
            yield model.error(
                where,
                f'"{wire}" is {type_name(here.data_type)} for {here.model} and {type_name(there.data_type)} for '
                f"{there.model}",
            )
        elif not _agree(here.dims, there.dims) and not _agree(_full(here), _full(there)):
            yield model.error(
                where,
                f'"{wire}" is {list(_full(here))} for {here.model} and {list(_full(there))} for {there.model} '
                "(batch included)",
            )


def _tensors(model: LintedModel, side: str) -> Mapping[str, Any]:
    return {tensor.name: tensor for tensor in getattr(model.config, side)}


def _end(model: LintedModel, tensor: Any) -> _End:
    return _End(model.name, tensor.data_type, tuple(tensor.dims), model.is_batched)


def _full(end: _End) -> tuple[int, ...]:
    return (-1, *end.dims) if end.batched else end.dims


def _agree(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))


def check_inflight(model: LintedModel, repository: Repository) -> Iterator[Diagnostic]:
    """A member that answers many times cannot fill the memory."""
    for path, step in _steps(model):
        member = repository.get(step.model_name)
        if member is None or not member.config.model_transaction_policy.decoupled:
            continue
        scheduling = model.config.ensemble_scheduling
        if hasattr(scheduling, "max_inflight_requests") and not scheduling.max_inflight_requests:
            yield model.warning(
                path,
                f"{member.name} may answer faster than the next step takes, without a limit",
                "set ensemble_scheduling { max_inflight_requests: ... }",
            )
