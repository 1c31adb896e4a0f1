"""Which architectures of transformers pack builds: a tiny random checkpoint of each goes through ingest and passes.

    python benchmarks/coverage [--only NAME] [--limit N] [--again OUTCOME] [--table]

Each runs in a child process of its own. What came of it is kept in `<cache>/coverage.jsonl`: a run that was stopped
goes on where it was, and `docs/coverage.md` is written from it at the end. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from architectures import Architecture, find_decoders, list_architectures
from check import EXACT_ERROR, Row, check_architecture
from table import render_table

from packc.cache import Cache
from packc.host import probe_host

TABLE = Path(__file__).parents[2] / "docs" / "coverage.md"
TIME_LIMIT_S = 150
MEMORY_LIMIT = 8 * 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="a class or a model type; may be repeated")
    parser.add_argument("--limit", type=int, help="stop after so many architectures")
    parser.add_argument("--again", action="append", default=[], help="take those of this outcome again")
    parser.add_argument("--table", action="store_true", help="write the table of what is known, and nothing else")
    arguments = parser.parse_args()
    state = Cache().root / "coverage.jsonl"
    known = read_rows(state)
    wanted = list_architectures()
    if not arguments.table:
        left = [a for a in wanted if _is_wanted(a, known.get(a.name), arguments)][: arguments.limit]
        prepare_parent()
        for number, architecture in enumerate(left, start=1):
            start = time.monotonic()
            row = run_child(architecture)
            known[row.architecture] = row
            with state.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            took_s = time.monotonic() - start
            facts = " | ".join(filter(None, (row.task, row.attentions, row.int8, row.reason)))
            print(f"{number}/{len(left)} {row.architecture}: {row.outcome} ({took_s:.1f} s) {facts}", flush=True)
    rows = [known[a.name] for a in wanted if a.name in known]
    if len(rows) == len(wanted) or arguments.table:
        TABLE.write_text(render_table(rows, len(find_decoders()), EXACT_ERROR), encoding="utf-8")
    print(f"{len(rows)} of {len(wanted)} architectures are known", file=sys.stderr)


def _is_wanted(architecture: Architecture, known: Row | None, arguments: argparse.Namespace) -> bool:
    if arguments.only:
        return architecture.name in arguments.only or architecture.model_type in arguments.only
    return known is None or known.outcome in arguments.again


def read_rows(state: Path) -> dict[str, Row]:
    """The last row of each architecture."""
    if not state.is_file():
        state.parent.mkdir(parents=True, exist_ok=True)
        return {}
    rows = (Row(**json.loads(line)) for line in state.read_text("utf-8").splitlines())
    return {row.architecture: row for row in rows}


def prepare_parent() -> None:
    """Imports once what every child needs; nothing may start a thread here."""
    import onnxruntime
    import torch.onnx
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    onnxruntime.set_default_logger_severity(3)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


def run_child(architecture: Architecture) -> Row:
    """The row of one architecture, from a fork that is killed when it takes too long."""
    with tempfile.TemporaryDirectory(prefix="pack-coverage-") as folder:
        result = Path(folder, "row.json")
        child = os.fork()
        if child == 0:
            _run_here(architecture, folder, result)
        reason = _await(child)
        if result.is_file():
            return Row(**json.loads(result.read_text("utf-8")))
    return Row(architecture.model_type, architecture.name, "fails", reason=reason)


def _run_here(architecture: Architecture, folder: str, result: Path) -> None:
    """The child's life; it ends here."""
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
        tempfile.tempdir = folder
        with Path(folder, "output.txt").open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        row = check_architecture(architecture, probe_host())
        result.with_suffix(".part").write_text(json.dumps(asdict(row)), "utf-8")
        result.with_suffix(".part").rename(result)
        status = 0
    finally:
        os._exit(status)


def _await(child: int) -> str:
    """Waits for the child; what to say when it left no row."""
    deadline = time.monotonic() + TIME_LIMIT_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return f"the process was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"no result within {TIME_LIMIT_S} s"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
