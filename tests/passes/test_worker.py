from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from graphs import make_context, parse_graph, random_weights
from packc.candidate import PassStep
from packc.passes import worker
from packc.passes.clean_graph import CleanGraph
from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.model_file import load_model, save_model
from packc.passes.request import Request, read_reports, write_request
from packc.passes.worker import main, run_request, run_step

GRAPH = "agraph (float[batch, 8] x) => (float[batch, 8] y) { dead = Sqrt(x)\n y = MatMul(x, w) }"


def make_request(tmp_path: Path, *steps: PassStep, keep: tuple[int, ...]) -> Request:
    source = tmp_path / "source.onnx"
    save_model(parse_graph(GRAPH, {"w": random_weights(8, 8)}), source)
    out = tmp_path / "out"
    out.mkdir()
    return Request(source, steps, None, make_context(tmp_path).calibration, out, keep)


def test_the_worker_keeps_the_graphs_that_are_asked_for(tmp_path: Path) -> None:
    request = make_request(tmp_path, PassStep("clean_graph"), PassStep("quantize_dynamic"), keep=(1, 2))
    run_request(request)
    assert sorted(path.name for path in request.out.iterdir()) == ["1", "2"]
    assert [node.op_type for node in load_model(request.out / "1" / "model.onnx").graph] == ["MatMul"]
    assert [report.name for report in read_reports(request.out / "2")] == ["clean_graph", "quantize_dynamic"]


def test_an_exact_pass_that_cannot_apply_is_skipped_with_a_warning(tmp_path: Path) -> None:
    report = run_step(
        PassStep("fuse_attention"), parse_graph(GRAPH, {"w": random_weights(8, 8)}), make_context(tmp_path)
    )
    assert report == PassReport(
        "fuse_attention", modified=False, warnings=("fuse_attention was skipped: the graph has no Softmax",)
    )


def test_another_pass_that_cannot_apply_fails(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    with pytest.raises(PassError, match="quantize_dynamic cannot apply: the graph has no MatMul or Gemm"):
        run_step(PassStep("quantize_dynamic"), plain, make_context(tmp_path))


def test_an_unknown_option_fails(tmp_path: Path) -> None:
    model, context = parse_graph(GRAPH, {"w": random_weights(8, 8)}), make_context(tmp_path)
    with pytest.raises(PassError, match="quantize_dynamic has no option per_chanel"):
        run_step(PassStep("quantize_dynamic", {"per_chanel": True}), model, context)


def test_a_pass_that_changes_the_interface_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Renaming(CleanGraph):
        def apply(self, model: ir.Model, context: PassContext) -> PassReport:
            model.graph.outputs[0].name = "z"
            return PassReport(self.name, modified=True)

    monkeypatch.setattr(worker, "find_pass", lambda name: Renaming())
    model = parse_graph(GRAPH, {"w": random_weights(8, 8)})
    with pytest.raises(PassError, match="clean_graph changed the inputs or outputs"):
        run_step(PassStep("clean_graph"), model, make_context(tmp_path))


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        (PassStep("fuse_all"), "there is no graph pass 'fuse_all'"),
        (PassStep("quantize_static"), "quantize_static: there are no calibration samples"),
    ],
)
def test_main_writes_one_line_about_a_failure(tmp_path: Path, step: PassStep, failure: str) -> None:
    path = tmp_path / "out" / "request.json"
    request = make_request(tmp_path, step, keep=(1,))
    write_request(path, request)
    assert main(path) == 1
    text = path.with_name("failure.txt").read_text()
    assert text.startswith(failure)
    assert "\n" not in text


def test_main_reports_what_a_library_raises(tmp_path: Path) -> None:
    path = tmp_path / "out" / "request.json"
    request = make_request(tmp_path, PassStep("clean_graph"), keep=(1,))
    request.model.write_bytes(b"not a model")
    write_request(path, request)
    assert main(path) == 1
    assert "Error" in path.with_name("failure.txt").read_text()


PARENT = """
import subprocess, sys
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_build_leaves_no_pass_running(tmp_path: Path) -> None:
    """It waits on a named pipe for its request.json; opening the other end returns once it does."""
    os.mkfifo(tmp_path / "request.json")
    command = [sys.executable, "-m", "packc.passes.worker", str(tmp_path / "request.json")]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    handle = os.open(tmp_path / "request.json", os.O_WRONLY)
    try:
        ended = os.pidfd_open(child)
        parent.kill()
        parent.wait()
        assert select.select([ended], [], [], 10)[0], "it outlived its parent"
        os.close(ended)
    finally:
        os.close(handle)
