from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import TENSORS, Case, check_case, run_rule
from packc.package.lint import files

PYTHON = 'backend: "python"\n'
GOOD_SOURCE = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
POLICY = "version_policy { specific { versions: [ 1, 3 ] } }"

CASES = [
    Case(files.check_name, 'name: "other"', 'the model is named "other", its folder "m"', "1:7", 'name: "m"'),
    Case(files.check_backend, TENSORS, "neither `backend` nor `platform` is given", "1:1", 'backend: "x"'),
    Case(
        files.check_backend,
        'platform: "onnx"',
        'Triton knows no platform "onnx"',
        "1:11",
        'platform: "onnxruntime_onnx"',
    ),
    Case(
        files.check_backend,
        'platform: "tensorrt_plan"\nbackend: "onnxruntime"',
        'platform "tensorrt_plan" stands for backend "tensorrt", but backend is "onnxruntime"',
        "2:10",
        'platform: "tensorrt_plan"\nbackend: "tensorrt"',
    ),
    Case(files.check_versions, POLICY, "there is no version 3: 1 exist", "1:44", POLICY.replace(", 3", "")),
    Case(
        files.check_versions,
        "version_policy { latest { } }",
        "the version policy selects no version",
        "1:18",
        "version_policy { latest { num_versions: 1 } }",
    ),
    Case(
        files.check_label_files,
        'output { label_filename: "no.txt" }',
        "m/no.txt is missing",
        "1:26",
        'output { label_filename: "labels.txt" }',
    ),
    Case(
        files.check_capability_files,
        'cc_model_filenames { key: "sm_80" value: "a.plan" }',
        '"sm_80" is not a compute capability',
        "1:27",
        'cc_model_filenames { key: "8.0" value: "a.plan" }',
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path, files={"m/labels.txt": "a\n"})


def test_a_backend_that_triton_guesses(tmp_path: Path) -> None:
    (found,) = run_rule(files.check_backend, tmp_path, TENSORS, files={"m/1/model.py": GOOD_SOURCE})
    assert found.severity == "warning"
    assert found.message == 'Triton has to guess the backend, "python", from the name of a file'


def test_no_version_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.pbtxt").write_text('backend: "python"')
    from packc.package.lint.repository import read_repository

    models, _ = read_repository(tmp_path)
    assert [d.message for d in files.check_versions(models["m"], models)] == ["the model has no version folder"]


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ('backend: "onnxruntime"', "model.onnx"),
        ('backend: "python"', "model.py"),
        ('platform: "tensorrt_plan"', "model.plan"),
        ('platform: "torch_aoti"', "model.pt2"),
        ('backend: "mine"\ndefault_model_filename: "x.bin"', "x.bin"),
    ],
)
def test_model_file(tmp_path: Path, config: str, file: str) -> None:
    found = run_rule(files.check_model_file, tmp_path / "bad", config)
    assert [d.message for d in found] == [f"1/{file} is missing"]
    assert not run_rule(files.check_model_file, tmp_path / "good", config, files={f"m/1/{file}": ""})


def test_openvino_weights(tmp_path: Path) -> None:
    config, model = 'backend: "openvino"', {"m/1/model.xml": ""}
    found = run_rule(files.check_openvino_weights, tmp_path / "bad", config, files=model)
    assert [d.message for d in found] == ["1/model.bin, the weights of model.xml, is missing"]
    assert not run_rule(files.check_openvino_weights, tmp_path / "good", config, files={**model, "m/1/model.bin": ""})


def test_a_compiled_graph_that_a_python_model_runs(tmp_path: Path) -> None:
    parameter = 'parameters {{ key: "{}" value {{ string_value: "{}" }} }}\n'.format
    config = PYTHON + "\n" + parameter("model", "model.pt2") + parameter("engine_options", "{}")
    found = run_rule(files.check_engine_files, tmp_path / "bad", config, files={"m/1/engine.py": ""})
    assert [d.message for d in found] == ["1/model.pt2, which the model runs, is missing"]
    there = {"m/1/engine.py": "", "m/1/model.pt2": ""}
    assert not run_rule(files.check_engine_files, tmp_path / "good", config, files=there)
    other = PYTHON + "\n" + parameter("model", "gpt2")
    assert not run_rule(files.check_engine_files, tmp_path / "other", other)


def test_ensembles_and_unknown_backends_need_no_file(tmp_path: Path) -> None:
    assert not run_rule(files.check_model_file, tmp_path / "a", 'platform: "ensemble"')
    assert not run_rule(files.check_model_file, tmp_path / "b", 'backend: "mine"')


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("def broken(:\n", "invalid syntax", 1),
        ("x = 1\n", "the class TritonPythonModel is missing", 1),
        ("\nclass TritonPythonModel:\n    pass\n", "TritonPythonModel has no method execute(self, requests)", 2),
    ],
)
def test_python_source(tmp_path: Path, source: str, message: str, line: int) -> None:
    found = run_rule(files.check_python_source, tmp_path / "bad", PYTHON, files={"m/1/model.py": source})
    assert [d.message for d in found] == [message]
    span = found[0].span
    assert span is not None
    assert (span.path.name, span.line) == ("model.py", line)
    assert not run_rule(files.check_python_source, tmp_path / "good", PYTHON, files={"m/1/model.py": GOOD_SOURCE})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/opt/env.tar.gz", 'the environment "/opt/env.tar.gz" is outside the model\'s folder'),
        ("$$TRITON_MODEL_DIRECTORY/../env", "escapes the model's folder, which Triton refuses"),
        ("$$TRITON_MODEL_DIRECTORY/none", "is missing"),
    ],
)
def test_environment(tmp_path: Path, value: str, message: str) -> None:
    def config(path: str) -> str:
        return f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{path}" }} }}'

    (found,) = run_rule(files.check_environment, tmp_path / "bad", config(value))
    assert message in found.message
    assert found.span is not None
    assert found.span.column == config(value).index(value)
    good = config("$$TRITON_MODEL_DIRECTORY/env.tar.gz")
    assert not run_rule(files.check_environment, tmp_path / "good", good, files={"m/env.tar.gz": ""})


def test_python_models_have_no_file_for_a_capability(tmp_path: Path) -> None:
    config = 'backend: "python"\ncc_model_filenames [ { key: "8.9" value: "model.l4.py" } ]\n' + TENSORS
    (found,) = run_rule(files.check_capability_files, tmp_path, config)
    assert found.message == "the python backend loads its source, whatever GPU there is"
