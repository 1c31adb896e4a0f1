"""Rules about a model's folder: its name, versions and the files that its configuration names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from packc.errors import Diagnostic, Span
from packc.package.lint.repository import AOTI_FILE, BACKENDS, MODEL_FILES, LintedModel, Repository

_MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"


def check_name(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """`name`, where it is written, is the folder's name."""
    if model.config.name and model.config.name != model.name:
        yield model.error(
            ("name",),
            f'the model is named "{model.config.name}", its folder "{model.name}"',
            f'write name: "{model.name}", or rename the folder',
        )


def check_backend(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """One of `backend` and `platform` says what runs the model, and they do not contradict each other."""
    backend, platform = model.config.backend, model.config.platform
    if not backend and not platform and not model.is_ensemble:
        if model.backend:
            yield model.warning(
                ("backend",), f'Triton has to guess the backend, "{model.backend}", from the name of a file', "write it"
            )
        else:
            yield model.error(("backend",), "neither `backend` nor `platform` is given", 'add backend: "onnxruntime"')
    elif platform and not backend and platform not in BACKENDS:
        yield model.error(
            ("platform",), f'Triton knows no platform "{platform}"', f"use `backend`, or one of {', '.join(BACKENDS)}"
        )
    elif platform and backend and platform != "ensemble" and BACKENDS.get(platform, backend) != backend:
        yield model.error(
            ("backend",),
            f'platform "{platform}" stands for backend "{BACKENDS[platform]}", but backend is "{backend}"',
            "leave `platform` out",
        )


def check_versions(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """There is a version folder, and the version policy selects one."""
    versions = [int(path.name) for path in model.versions()]
    policy = model.config.version_policy
    if not versions:
        yield model.error((), "the model has no version folder", "add one: 1/ (an ensemble's stays empty)")
    elif policy.HasField("specific"):
        for i, version in enumerate(policy.specific.versions):
            if version not in versions:
                present = ", ".join(map(str, versions))
                yield model.error(
                    ("version_policy", "specific", "versions", i), f"there is no version {version}: {present} exist"
                )
    elif policy.HasField("latest") and policy.latest.num_versions == 0:
        yield model.error(("version_policy", "latest"), "the version policy selects no version", "num_versions: 1")


def check_model_file(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Every version has the file that its backend loads."""
    config = model.config
    usual = AOTI_FILE if config.platform == "torch_aoti" else MODEL_FILES.get(model.backend)
    names = set(config.cc_model_filenames.values()) | {config.default_model_filename or usual}
    for folder in model.versions():
        for name in sorted(filter(None, names)):
            if model.is_ensemble or (folder / name).exists():
                continue
            hint = "a server that is sent this model waits for it for ever" if model.backend == "python" else None
            yield model.error(("default_model_filename",), f"{folder.name}/{name} is missing", hint)


def check_openvino_weights(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """The weights of an OpenVINO model lie beside it: name.xml and name.bin."""
    name = Path(model.config.default_model_filename or MODEL_FILES["openvino"])
    if model.backend != "openvino" or name.suffix != ".xml":
        return
    for folder in model.versions():
        if (folder / name).is_file() and not (folder / name).with_suffix(".bin").is_file():
            yield model.error(
                ("default_model_filename",), f"{folder.name}/{name.stem}.bin, the weights of {name}, is missing"
            )


def check_engine_files(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A Python model of pack's that runs a compiled graph has it, and the engine for it, beside its source."""
    name = model.parameter("model")
    if model.backend != "python" or not name or not model.parameter("engine_options"):
        return
    where = (*model.entry(("parameters",), "model"), "value", 0, "string_value")
    for folder in model.versions():
        for file in (name, "engine.py"):
            if not (folder / file).is_file():
                yield model.error(where, f"{folder.name}/{file}, which the model runs, is missing")


def check_python_source(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A Python model parses and defines TritonPythonModel.execute."""
    if model.backend != "python":
        return
    for folder in model.versions():
        path = folder / (model.config.default_model_filename or "model.py")
        if path.is_file():
            yield from _check_source(path)


def _check_source(path: Path) -> Iterator[Diagnostic]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        line = error.lineno or 1
        yield Diagnostic(error.msg, Span(path, line, error.offset or 1, 1, text.split("\n")[line - 1]))
        return
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "TritonPythonModel"]
    if not classes:
        yield Diagnostic("the class TritonPythonModel is missing", Span(path, 1, 1))
    elif not any(
        isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == "execute" for n in classes[0].body
    ):
        yield Diagnostic("TritonPythonModel has no method execute(self, requests)", Span(path, classes[0].lineno, 1))


def check_label_files(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Files with class names lie in the model's folder."""
    for i, output in enumerate(model.config.output):
        if output.label_filename and not (model.folder / output.label_filename).is_file():
            yield model.error(("output", i, "label_filename"), f"{model.name}/{output.label_filename} is missing")


def check_environment(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A packed Python environment lies inside the model's folder, named so that the folder can move."""
    value = model.parameter("EXECUTION_ENV_PATH")
    if not value:
        return
    where = (*model.entry(("parameters",), "EXECUTION_ENV_PATH"), "value", 0, "string_value")
    if not value.startswith(_MODEL_DIRECTORY):
        yield model.error(
            where,
            f'the environment "{value}" is outside the model\'s folder',
            f"put it beside config.pbtxt and write {_MODEL_DIRECTORY}/<file>",
        )
        return
    path = model.folder / value.removeprefix(_MODEL_DIRECTORY).lstrip("/")
    if not path.resolve().is_relative_to(model.folder.resolve()):
        yield model.error(where, f'the environment "{value}" escapes the model\'s folder, which Triton refuses')
    elif not path.exists():
        yield model.error(where, f"the environment {path} is missing")


def check_capability_files(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Keys of `cc_model_filenames` are compute capabilities, and the backend is one that reads them."""
    for key in sorted(model.config.cc_model_filenames):
        if not re.fullmatch(r"\d+\.\d+", key):
            yield model.error(
                (*model.entry(("cc_model_filenames",), key), "key"),
                f'"{key}" is not a compute capability',
                'write it as in key: "8.0"',
            )
    if model.config.cc_model_filenames and model.backend == "python":
        yield model.error(
            ("cc_model_filenames",),
            "the python backend loads its source, whatever GPU there is",
            "choose with configs/<name>.pbtxt and the server's --model-config-name",
        )
