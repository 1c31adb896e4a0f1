"""The child process that rewrites graphs: `python -m packc.passes.worker request.json`.

On failure it writes `failure.txt` beside the request and exits with 1; what libraries print goes where the parent sends
it.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from packc.candidate import PassStep
from packc.child import answer_request, die_with_parent
from packc.passes import find_pass
from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.model_file import MODEL_FILE, load_model, save_model
from packc.passes.request import Request, read_request, write_reports

if TYPE_CHECKING:
    import onnx_ir as ir

Signature = list[tuple[str | None, object, int | None]]


def run_request(request: Request) -> None:
    """Runs the steps in order and keeps the graphs that are asked for. Raises PackError."""
    model = load_model(request.model)
    reports: list[PassReport] = []
    for count, step in enumerate(request.steps, start=1):
        with TemporaryDirectory(prefix="pack-pass-", dir=request.out) as scratch:
            context = PassContext(request.geometry, step.options, request.calibration, Path(scratch))
            reports.append(run_step(step, model, context))
        gc.collect()
        if count in request.keep:
            folder = request.out / str(count)
            folder.mkdir()
            save_model(model, folder / MODEL_FILE)
            write_reports(folder, tuple(reports))


def run_step(step: PassStep, model: ir.Model, context: PassContext) -> PassReport:
    """Applies one pass to `model` in place. Raises PassError when it cannot apply or breaks a promise."""
    graph_pass = find_pass(step.name)
    if unknown := sorted(set(step.options) - set(graph_pass.options)):
        raise PassError(f"{step.name} has no option {', '.join(unknown)}")
    if reason := graph_pass.requires(model, context):
        if graph_pass.exact:
            return PassReport(step.name, modified=False, warnings=(f"{step.name} was skipped: {reason}",))
        raise PassError(f"{step.name} cannot apply: {reason}")
    before = _read_signature(model)
    report = graph_pass.apply(model, context)
    if _read_signature(model) != before:
        raise PassError(f"{step.name} changed the inputs or outputs of the graph")
    graph_pass.ensures(model, context)
    return report


def _read_signature(model: ir.Model) -> Signature:
    """Name, type and rank of all inputs and outputs."""
    values = [*model.graph.inputs, *model.graph.outputs]
    return [(value.name, value.dtype, None if value.shape is None else len(value.shape)) for value in values]


def main(path: Path) -> int:
    """Runs the request in the file at `path`; 0 when it is done, 1 when `failure.txt` tells why not."""
    return answer_request(path, lambda: run_request(read_request(path)))


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main(Path(sys.argv[1])))
