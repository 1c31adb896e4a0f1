"""The child process in which runtimes' compilers work: `python -m packc.runtimes.compile_worker request.json`.

On failure it writes `failure.txt` beside the request and exits with 1; what libraries print goes where the parent sends
it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from pydantic import TypeAdapter

from packc.child import answer_request, die_with_parent
from packc.runtimes.compile import REMARKS_FILE, CompileRequest


def main(path: Path) -> int:
    """Runs the request in the file at `path`; 0 when it is done, 1 when `failure.txt` tells why not."""
    return answer_request(path, lambda: _compile(path))


def _compile(path: Path) -> None:
    request = TypeAdapter(CompileRequest).validate_json(path.read_bytes())
    remarks = importlib.import_module(request.compiler).compile_model(request)
    (request.out / REMARKS_FILE).write_bytes(TypeAdapter(tuple[str, ...]).dump_json(remarks))


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main(Path(sys.argv[1])))
