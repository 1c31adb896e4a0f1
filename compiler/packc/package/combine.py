"""Puts the artifacts of several GPUs into one Triton repository, so that each server loads the one that is its own.

A model's `cc_model_filenames` names a file for each compute capability, and backends take `default_model_filename`
where none is named (Triton's model_config.proto). Where more differs than the file, where two GPUs of one capability
do, and for Python models, whose backend knows no such map, a target has a configuration of its own:
`configs/<target>.pbtxt`, which a server with `--model-config-name=<target>` reads instead of config.pbtxt. Nothing here
knows a runtime: artifacts of one backend combine, whatever they are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packc.candidate import OptionValue
from packc.errors import PackError
from packc.ingest.fingerprint import hash_file
from packc.package.artifact import artifact_files
from packc.package.combined_needs import settle_requirement
from packc.package.external_data import rename_external_files
from packc.package.lint.repository import CONFIG, CONFIGS, MODEL_FILES, read_repository
from packc.package.model_config import VERSION, print_config
from packc.package.pipelines.tensors import TritonRuntime
from packc.package.schema import config_schema

BUILT_THERE = "its engine is built on the GPU: run its bundle there and `pack import` it"
"""Of a bundle that holds a graph, where the runtime serves what it makes of graphs."""
FILE_PARAMETER = "model"
"""Of pack's Python models: the artifact that they run."""

ChosenBy = Literal["default", "compute capability", "config name"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The artifact of a target that was built and not measured: its job bundle's, to be served as the base is."""

    model: Path
    options: Mapping[str, OptionValue]
    """Of the engine's `load`."""
    runtime: TritonRuntime
    threads: int


@dataclass(frozen=True, slots=True)
class Part:
    """One target that joins the base's repository."""

    target: str
    compute_capability: str
    source: Path | Bundle
    """The repository of its own package, or what stands in for it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the artifact of a part lies, and how a server comes to it."""

    target: str
    file: str
    chosen_by: ChosenBy


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part that has no place in the repository, and why."""

    target: str
    reason: str


Configs = dict[str, Any]
"""Name of a model -> its ModelConfig protobuf."""


def combine_repository(repository: Path, compute_capability: str, parts: Sequence[Part]) -> list[Placed | LeftOut]:
    """Adds `parts` to the `repository` of the base, which is of GPUs of that `compute_capability`; changes it in place.

    A part that is served by other models or another backend, or needs another library, is left out. Raises PackError
    where the repository has no model that runs an artifact.
    """
    base = read_configs(repository)
    graph = find_graph(base)
    usual = name_artifact(base[graph])
    taken = {compute_capability}
    version = repository / graph / str(VERSION)
    placed = {tuple(map(hash_file, _list_files(version / usual).values())): usual}
    found: list[Placed | LeftOut] = []
    for part in parts:
        theirs = _read_part(part, repository, base, graph)
        if isinstance(theirs, str):
            found.append(LeftOut(part.target, theirs))
            continue
        file = _place_artifact(part, version, usual, placed)
        name_artifact(theirs[graph], file)
        for name, config in theirs.items():
            _adopt_warmup(config, part, repository / name)
        chosen_by = _choose_way(theirs, base, graph, file, part, taken)
        if chosen_by == "compute capability":
            base[graph].cc_model_filenames[part.compute_capability] = file
        elif chosen_by == "config name":
            _write_configs(repository, part.target, theirs, base)
        taken.add(part.compute_capability)
        found.append(Placed(part.target, file, chosen_by))
    (repository / graph / CONFIG).write_text(print_config(base[graph]))
    return found


def name_artifact(config: Any, file: str | None = None) -> str:
    """The artifact that a model runs, "" for one that runs none; with `file`, that one from now on."""
    is_python = config.backend == "python"
    if file is not None and is_python:
        config.parameters[FILE_PARAMETER].string_value = file
    elif file is not None:
        config.default_model_filename = file
    if is_python:
        runs = "engine_options" in config.parameters and FILE_PARAMETER in config.parameters
        return str(config.parameters[FILE_PARAMETER].string_value) if runs else ""
    return str(config.default_model_filename) or MODEL_FILES.get(config.backend, "")


def find_artifact(repository: Path) -> Path:
    """The artifact that a server of the repository runs by default. Raises PackError where no model runs one."""
    configs = read_configs(repository)
    graph = find_graph(configs)
    return repository / graph / str(VERSION) / name_artifact(configs[graph])


def read_configs(repository: Path) -> Configs:
    """Those of all its models. Raises PackError where one cannot be read."""
    models, problems = read_repository(repository)
    if problems:
        raise PackError(f"{repository} cannot be read: {problems[0].message}")
    return {name: model.config for name, model in models.items()}


def find_graph(configs: Configs) -> str:
    """Name of the model that runs the artifact. Raises PackError where it is not one."""
    found = [name for name, config in configs.items() if name_artifact(config)]
    if len(found) != 1:
        raise PackError(f"one model should run the compiled graph, and {len(found)} do: {', '.join(found)}")
    return found[0]


def _read_part(part: Part, repository: Path, base: Configs, graph: str) -> Configs | str:
    """The part's configurations, by the names of the base's models; or why they do not fit."""
    if isinstance(part.source, Path):
        theirs = read_configs(part.source)
        if set(theirs) != set(base):
            return f"it is served by other models ({', '.join(theirs)}) than the first target ({', '.join(base)})"
        if differing := _find_differing(repository, part.source, base, graph):
            return f"its {differing} is not the first target's"
    else:
        theirs = {name: _copy(config) for name, config in base.items()}
        theirs[graph].cc_model_filenames.clear()  # so that it differs from the base's wherever that has a map
        _configure(theirs[graph], part.source)
    model = part.source.model if isinstance(part.source, Bundle) else find_artifact(part.source)
    is_alike = theirs[graph].backend == base[graph].backend
    if not is_alike or model.suffix != Path(name_artifact(base[graph])).suffix:
        if is_alike and isinstance(part.source, Bundle) and model.suffix == ".onnx":
            return BUILT_THERE
        return f"its artifact is not for the backend of the first target, {base[graph].backend}"
    return settle_requirement(theirs[graph], model, base[graph]) or theirs


def _find_differing(repository: Path, other: Path, models: Iterable[str], graph: str) -> str | None:
    """A file that the two repositories do not have alike, of the steps beside the graph or of a Python source that runs
    it: where artifacts take other element types, say."""
    for name in sorted(models):
        for file in sorted((other / name / str(VERSION)).glob("*.py" if name == graph else "*.*")):
            twin = repository / name / str(VERSION) / file.name
            if not twin.is_file() or hash_file(twin) != hash_file(file):
                return f"{name}/{VERSION}/{file.name}"
    return None


def _configure(config: Any, bundle: Bundle) -> None:
    """Has the base's model run with the options of the bundle."""
    if config.backend == "python":
        config.parameters["engine_options"].string_value = json.dumps(dict(bundle.options))
        return
    config.parameters.clear()
    config.ClearField("optimization")
    for group in config.instance_group:
        del group.profile[:]  # those of the base's engine
    bundle.runtime.configure_triton(config, bundle.options, bundle.threads)


def _place_artifact(part: Part, version: Path, usual: str, placed: dict[tuple[str, ...], str]) -> str:
    """Copies the part's artifact into `version` unless it is among those `placed` there: digests of all its files ->
    name of the main one, which is returned."""
    model = part.source.model if isinstance(part.source, Bundle) else find_artifact(part.source)
    files = _list_files(model)
    digests = tuple(map(hash_file, files.values()))
    if digests in placed:
        return placed[digests]
    main = version / f"{Path(usual).stem}.{part.target}{model.suffix}"
    renamed = {}
    for name, file in files.items():
        if file == model:
            continue
        if model.suffix != ".onnx":  # found by the stem of the main file
            place = main.with_suffix(file.suffix)
        else:  # weights that the graph names, and that another graph may share
            place = version / name
            if place.exists() and hash_file(place) != hash_file(file):
                place = place.with_name(f"{place.stem}.{part.target}{place.suffix}")
                renamed[name] = place.relative_to(version).as_posix()
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    if renamed:
        rename_external_files(model, main, renamed)
    else:
        shutil.copyfile(model, main)
    placed[digests] = main.name
    return main.name


def _list_files(model: Path) -> dict[str, Path]:
    """Of an artifact, without the source of the Python model that runs it."""
    return {name: file for name, file in artifact_files(model).items() if file.suffix != ".py"}


def _choose_way(theirs: Configs, base: Configs, graph: str, file: str, part: Part, taken: set[str]) -> ChosenBy:
    """How a server of the part comes to its file, by as little as does."""
    alike = all(_strip(theirs[name], name == graph) == _strip(base[name], name == graph) for name in base)
    if not alike:
        return "config name"
    if file == name_artifact(base[graph]) and part.compute_capability not in base[graph].cc_model_filenames:
        return "default"
    if base[graph].cc_model_filenames.get(part.compute_capability) == file:
        return "compute capability"
    return "config name" if part.compute_capability in taken else "compute capability"


def _strip(config: Any, is_graph: bool) -> Any:
    """The configuration without what names the artifact of a native backend."""
    plain = _copy(config)
    if is_graph and plain.backend != "python":
        plain.ClearField("default_model_filename")
    plain.cc_model_filenames.clear()
    return plain


def _write_configs(repository: Path, target: str, theirs: Configs, base: Configs) -> None:
    """configs/<target>.pbtxt of each model that differs. Without a name, which is the folder's: a push renames that."""
    for name, config in theirs.items():
        if config == base[name]:
            continue
        own = _copy(config)
        own.ClearField("name")
        own.cc_model_filenames.clear()
        folder = repository / name / CONFIGS
        folder.mkdir(exist_ok=True)
        (folder / f"{target}.pbtxt").write_text(print_config(own))


def _adopt_warmup(config: Any, part: Part, folder: Path) -> None:
    """Brings the part's warm-up samples, under names of its own where the base has others."""
    if not isinstance(part.source, Path):
        return
    for warmup in config.model_warmup:
        for entry in warmup.inputs.values():
            own = part.source / folder.name / "warmup" / entry.input_data_file
            place = folder / "warmup" / entry.input_data_file
            if place.is_file() and hash_file(place) == hash_file(own):
                continue
            place.parent.mkdir(exist_ok=True)
            entry.input_data_file = f"{part.target}_{entry.input_data_file}"
            shutil.copyfile(own, place.with_name(entry.input_data_file))


def _copy(config: Any) -> Any:
    twin = config_schema().ModelConfig()
    twin.CopyFrom(config)
    return twin
