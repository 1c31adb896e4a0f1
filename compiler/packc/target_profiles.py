"""Reads target profiles: the shipped ones, the user's by path, and this machine's CPU (`host`) and GPU (`host-gpu`)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from packc.errors import MissingError, ProfileError, TargetError
from packc.gpu import HOST_GPU, Gpu, describe_absent_gpu, describe_gpu, find_gpu
from packc.host import probe_host
from packc.resources import resource_dir
from packc.target import IsaFlag, Target, TargetKind, derive_native
from packc.tensors import Precision
from packc.toml.explain import suggest
from packc.toml.file import in_file_order, read_toml, resolve_path

HOST = "host"
NO_GPU = "there is no NVIDIA GPU here, or no driver that this process may use"

Figure = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Sourced = Literal[
    Precision,
    "units",
    "memory_gb",
    "bandwidth_gb_s",
    "isa",
    "compute_capability",
    "native",
    "dense_peak_tflops",
    "unsupported",
]
"""What [sources] may speak of: a key of the profile, or one precision of [dense_peak_tflops]."""


def _check_capability(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d", text):
        raise ValueError(f'"{text}" is no compute capability: write it as in "8.9"')
    return text


class Profile(BaseModel):
    """A profile file. targets/README.md explains its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text = Field(description="The device's name, for people.")
    kind: TargetKind
    arch: Text = Field(description="The architecture as compilers call it.")
    units: int = Field(ge=1, description="Cores of a socket, SMs or NeuronCores.")
    memory_gb: Figure | None = None
    bandwidth_gb_s: Figure | None = None
    isa: tuple[IsaFlag, ...] = ()
    compute_capability: Annotated[str, AfterValidator(_check_capability)] | None = None
    driver_names: Annotated[
        tuple[Text, ...],
        Field(description="What the driver calls the device; this machine is it if it agrees."),
    ] = ()
    native: tuple[Precision, ...] = ()
    dense_peak_tflops: dict[Precision, Figure] = {}
    instances: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()
    unsupported: Text | None = None
    sources: dict[Sourced, Text] = {}

    @model_validator(mode="after")
    def _check_kind(self) -> Profile:
        if self.kind == "cpu" and (not self.isa or self.native or self.compute_capability):
            raise ValueError("a cpu has `isa`, from which its native precisions follow, and no `compute_capability`")
        if self.kind != "cpu" and (self.isa or not self.native):
            raise ValueError(f"a {self.kind} target has `native`, its precisions, and no `isa`")
        if (self.kind in ("cuda", "jetson")) != (self.compute_capability is not None):
            raise ValueError("`compute_capability` belongs to cuda and jetson targets, and they need it")
        if self.driver_names and self.kind != "cuda":
            raise ValueError("`driver_names` belongs to cuda targets")
        if beyond := [p for p in self.dense_peak_tflops if p not in self._native()]:
            raise ValueError(f"[dense_peak_tflops] has {beyond[0]}, which is not native")
        return self

    def _native(self) -> tuple[Precision, ...]:
        return derive_native(self.isa) if self.kind == "cpu" else self.native


def find_target(profile: str, base: Path) -> Target:
    """The target that `profile` names: "host", "host-gpu", a shipped one, or a TOML file relative to `base`.

    Raises TargetError when it is unknown or not there, ProfileError when its file is malformed, MissingError for
    "host-gpu" where there is no GPU.
    """
    if profile == HOST:
        return probe_host()
    if profile == HOST_GPU:
        return _require_host_gpu()
    if profile.endswith(".toml") or "/" in profile:
        path = resolve_path(base, profile)
        if not path.exists():
            raise TargetError(f'there is no profile "{profile}"', hint=_hint_file(path))
        return read_profile(path)
    path = resource_dir("targets") / f"{profile}.toml"
    if path.is_file():
        return read_profile(path)
    hint = _suggest_profile(profile) or "`pack targets` lists them; a profile of your own is a .toml"
    raise TargetError(f'unknown target "{profile}"', hint=hint)


def _suggest_profile(profile: str) -> str | None:
    """The profile that is near, else all that have this in their name: "a100" is part of two."""
    names = _shipped_names()
    near = suggest(profile, (HOST, HOST_GPU, *names))
    part = profile.lower()
    having = [f'"{name}"' for name in names if len(part) > 1 and part in name]
    return near or (f"did you mean {' or '.join(having)}?" if having else None)


def _hint_file(path: Path) -> str:
    """For a profile of the user's that is not there: one beside it whose name is near, its ending apart."""
    near = suggest(path.stem, sorted(file.stem for file in path.parent.glob("*.toml")))
    return near.replace('"?', '.toml"?') if near else f"it was looked for at {path}"


def find_host_gpu() -> Target | None:
    """This machine's GPU, with the figures of the shipped profile that it is, if any; None without a GPU.

    What the driver tells of it, such as the memory that is there, goes before the profile's.
    """
    gpu = find_gpu()
    if gpu is None:
        return None
    probed = describe_gpu(gpu)
    known = next((target for target in shipped_profiles() if target.is_here), None)
    if known is None:
        return probed
    sources = {**known.sources, **dict.fromkeys(("units", "memory_gb"), "seen: this machine's driver")}
    return replace(
        known, id=HOST_GPU, profile=known.id, units=probed.units, memory_gb=probed.memory_gb, sources=sources
    )


def plan_target(profile: str, base: Path) -> Target:
    """As `find_target`, for a plan: of "host-gpu" where there is no GPU, what can be told without one."""
    if profile == HOST_GPU and find_gpu() is None:
        return describe_absent_gpu()
    return find_target(profile, base)


def _require_host_gpu() -> Target:
    target = find_host_gpu()
    if target is None:
        raise MissingError(
            f'profile "{HOST_GPU}": {NO_GPU}',
            hint="`nvidia-smi` shows what the driver sees; a container needs --gpus all. To build here for a GPU that "
            'is elsewhere, name its profile, as in profile = "nvidia-l4"; `pack targets` lists them',
        )
    return target


def shipped_profiles() -> tuple[Target, ...]:
    """All profiles that pack comes with, by name."""
    return tuple(read_profile(resource_dir("targets") / f"{name}.toml") for name in _shipped_names())


def read_profile(path: Path) -> Target:
    """The target that the TOML file at `path` describes. Raises ProfileError with every mistake in it."""
    profile = read_toml(path, ProfileError).validate(Profile)
    if isinstance(profile, list):
        raise ProfileError(*in_file_order(profile))
    gpu = find_gpu() if profile.driver_names else None
    here = gpu if gpu is not None and _is_device(gpu, profile) else None
    return Target(
        id=path.stem,
        name=profile.name,
        kind=profile.kind,
        arch=profile.arch,
        isa=profile.isa,
        compute_capability=profile.compute_capability,
        units=profile.units,
        memory_gb=profile.memory_gb,
        bandwidth_gb_s=profile.bandwidth_gb_s,
        dense_peak_tflops=profile.dense_peak_tflops,
        native=profile._native(),
        instances=profile.instances,
        notes=(*(here.notes if here else ()), *profile.notes),
        unsupported=profile.unsupported,
        sources={figure: source for figure, source in profile.sources.items()},  # noqa: C416
        is_here=here is not None,
        driver_names=profile.driver_names,
        warnings=here.warnings if here else (),
        cache_mib=here.cache_bytes / 2**20 or None if here else None,
    )


def _is_device(gpu: Gpu, profile: Profile) -> bool:
    return gpu.name in profile.driver_names and gpu.compute_capability == profile.compute_capability


def _shipped_names() -> list[str]:
    return sorted(path.stem for path in resource_dir("targets").glob("*.toml"))
