from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto

from lint_cases import Case, check_case, run_rule
from models import make_tiny_onnx
from packc.package.lint import graph

HEAD = 'backend: "onnxruntime"\nmax_batch_size: 4\n'
"""The graph is features [batch, 8] -> scores [batch, 4]."""


def config(
    features: str = "TYPE_FP32 dims: 8", scores: str = "TYPE_FP32 dims: 4", name: str = "features", head: str = HEAD
) -> str:
    inputs = f'input {{ name: "{name}" data_type: {features} }}\n'
    return head + inputs + f'output {{ name: "scores" data_type: {scores} }}'


GOOD = config()

CASES = [
    Case(
        graph.check_graph_types,
        config("TYPE_INT64 dims: 8"),
        '"features" is TYPE_FP32 in 1/model.onnx, not TYPE_INT64',
        "3:37",
        GOOD,
    ),
    Case(
        graph.check_graph_dims,
        config("TYPE_FP32 dims: [ 1, 8 ]"),
        '"features" is [8] after the batch in 1/model.onnx, not [1, 8]',
        "3:55",
        GOOD,
    ),
    Case(
        graph.check_graph_dims,
        config("TYPE_FP32 dims: -1"),
        '"features" is [8] after the batch in 1/model.onnx, not [-1]',
        "3:53",
        config("TYPE_FP32 dims: [ 2, 4 ] reshape { shape: 8 }"),
    ),
    Case(
        graph.check_graph_dims,
        config(head='backend: "onnxruntime"\n', features="TYPE_FP32 dims: [ -1, 8 ]"),
        '"scores" is [batch, 4] in 1/model.onnx, not [4]',
        "3:52",
        config("TYPE_FP32 dims: [ 2, 8 ]", "TYPE_FP32 dims: [ -1, 4 ]", head='backend: "onnxruntime"\n'),
    ),
    Case(
        graph.check_graph_names,
        GOOD.splitlines()[0] + "\n" + "\n".join(GOOD.splitlines()[2:3]),
        'output "scores" of 1/model.onnx is not written: clients cannot get it',
        "1:1",
        GOOD,
        "warning",
    ),
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return {"m/1/model.onnx": make_tiny_onnx(tmp_path / "tiny.onnx").read_bytes()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, files: dict[str, bytes], case: Case) -> None:
    check_case(case, tmp_path, files=files)


def test_a_wrong_name_is_both_unexpected_and_missing(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = run_rule(graph.check_graph_names, tmp_path / "bad", config(name="feature"), files=files)
    assert [(d.message, d.severity) for d in found] == [
        ('1/model.onnx has no input "feature"', "error"),
        ('input "features" of 1/model.onnx is not written', "error"),
    ]


def test_a_fixed_batch(tmp_path: Path) -> None:
    def fix_batch(model: ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    content = make_tiny_onnx(tmp_path / "fixed.onnx", edit=fix_batch).read_bytes()
    (found,) = run_rule(graph.check_graph_batch, tmp_path / "bad", GOOD, files={"m/1/model.onnx": content})
    assert found.message == '"features" has shape [1, 8] in 1/model.onnx: its first axis is no batch'
    unbatched = config("TYPE_FP32 dims: [ 1, 8 ]", "TYPE_FP32 dims: [ -1, 4 ]", head='backend: "onnxruntime"\n')
    for rule in (graph.check_graph_batch, graph.check_graph_dims):
        assert not run_rule(rule, tmp_path / rule.__name__, unbatched, files={"m/1/model.onnx": content})


def test_broken_files(tmp_path: Path, files: dict[str, bytes]) -> None:
    cut = {"m/1/model.onnx": files["m/1/model.onnx"][:50]}
    (found,) = run_rule(graph.check_graph_readable, tmp_path / "cut", GOOD, files=cut)
    assert "is not a whole ONNX model" in found.message
    assert not run_rule(graph.check_graph_types, tmp_path / "types", GOOD, files=cut)
    content = make_tiny_onnx(tmp_path / "split.onnx", external_data=True).read_bytes()
    (found,) = run_rule(graph.check_graph_readable, tmp_path / "split", GOOD, files={"m/1/model.onnx": content})
    assert "keeps weights in 'split.onnx.data', which is not beside it" in found.message
    assert not run_rule(graph.check_graph_readable, tmp_path / "whole", GOOD, files=files)


def test_other_backends_are_left_alone(tmp_path: Path, files: dict[str, bytes]) -> None:
    other = config("TYPE_INT64 dims: 1").replace("onnxruntime", "mine")
    assert not run_rule(graph.check_graph_types, tmp_path, other, files=files)
