"""Rules that hold a configuration against a TensorRT engine's stamp, as the tensorrt backend does against the plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from packc.errors import Diagnostic, PackError
from packc.package.datatypes import TRITON_TYPES
from packc.package.engine_stamp import PLAN_SUFFIX, EngineStamp, Shape, find_stamp, read_profile
from packc.package.lint.repository import MODEL_FILES, LintedModel, Repository
from packc.package.lint.tensors import type_name

Profile = dict[str, tuple[Shape, Shape, Shape]]


def check_stamp(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Beside an engine of pack's lies what it was built by and for; nobody else's needs to say."""
    if not model.parameter("requirement"):
        return
    for path in _list_plans(model):
        try:
            stamp = find_stamp(path)
            for profile in stamp.profiles if stamp else ():
                read_profile(profile)
        except PackError as error:
            yield model.warning(("default_model_filename",), str(error), error.hint)


def check_profile_numbers(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Profiles that instances name are the engine's."""
    for file, stamp in _list_stamps(model):
        count = max(1, len(stamp.profiles))
        for i, group in enumerate(model.config.instance_group):
            for j, number in enumerate(group.profile):
                if number.isdigit() and int(number) >= count:
                    yield model.error(
                        ("instance_group", i, "profile", j), f"{file} has {count} profile(s), counted from 0"
                    )


def check_profile_batch(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """The largest batch fits a profile."""
    if not model.is_batched:
        return
    for file, stamp in _list_stamps(model):
        profiles = ([most[0] for _, _, most in profile.values() if most] for profile in _read_profiles(stamp))
        largest = max((min(batches) for batches in profiles if batches), default=0)
        if largest and model.config.max_batch_size > largest:
            yield model.error(
                ("max_batch_size",),
                f"the profiles of {file} take batches up to {largest}",
                f"set max_batch_size to {largest}, or build with a larger [workload] batch",
            )


def check_profile_dims(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Sizes that the configuration fixes are within a profile; -1 does not widen one."""
    first = 1 if model.is_batched else 0
    for file, stamp in _list_stamps(model):
        profiles = _read_profiles(stamp)
        for i, tensor in enumerate(model.config.input):
            ranges = [profile[tensor.name] for profile in profiles if tensor.name in profile]
            dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
            if ranges and not any(_is_within(dims, least[first:], most[first:]) for least, _, most in ranges):
                known = ", ".join(f"{list(least[first:])} to {list(most[first:])}" for least, _, most in ranges)
                yield model.error(("input", i, "dims"), f'the profiles of {file} take "{tensor.name}" from {known}')


def check_bindings(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Tensors and their element types are those at the engine's border."""
    for file, stamp in _list_stamps(model):
        for side, bindings in (("input", stamp.inputs), ("output", stamp.outputs)):
            types = {binding.name: TRITON_TYPES.get(binding.dtype, binding.dtype) for binding in bindings}
            for i, tensor in enumerate(getattr(model.config, side)):
                if tensor.name not in types:
                    yield model.error(
                        (side, i, "name"), f'{file} has no {side} "{tensor.name}"', f"it has {', '.join(types)}"
                    )
                elif type_name(tensor.data_type) != types[tensor.name]:
                    yield model.error(
                        (side, i, "data_type"),
                        f'"{tensor.name}" is {types[tensor.name]} in {file}, not {type_name(tensor.data_type)}',
                    )


def _is_within(dims: list[int], least: Shape, most: Shape) -> bool:
    return len(dims) == len(least) and all(
        dim == -1 or low <= dim <= high for dim, low, high in zip(dims, least, most, strict=True)
    )


def _read_profiles(stamp: EngineStamp) -> list[Profile]:
    """Those that can be read; `check_stamp` speaks of the others."""
    try:
        return [read_profile(text) for text in stamp.profiles]
    except PackError:
        return []


def _list_stamps(model: LintedModel) -> Iterator[tuple[str, EngineStamp]]:
    """Every engine of the model that has a stamp, by its place in the model's folder."""
    for path in _list_plans(model):
        try:
            stamp = find_stamp(path)
        except PackError:
            continue
        if stamp is not None:
            yield f"{path.parent.name}/{path.name}", stamp


def _list_plans(model: LintedModel) -> Iterator[Path]:
    """Engines that the tensorrt backend may load: of any compute capability."""
    if model.backend != "tensorrt":
        return
    config = model.config
    names = {config.default_model_filename or MODEL_FILES["tensorrt"], *config.cc_model_filenames.values()}
    for folder in model.versions():
        for name in sorted(names):
            if name.endswith(PLAN_SUFFIX) and (folder / name).is_file():
                yield folder / name
