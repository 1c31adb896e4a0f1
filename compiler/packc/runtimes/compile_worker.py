"""The child process in which runtimes' compilers work: `python -m packc.runtimes.compile_worker request.json`.

On failure it writes `failure.txt` beside the request and exits with 1; what libraries print goes where the parent sends
it.
"""

from __future__ import annotations

import ctypes
import importlib
import signal
import sys
import traceback
from pathlib import Path

from pydantic import TypeAdapter

from packc.errors import PackError
from packc.passes.child import FAILURE_FILE
from packc.runtimes.compile import REMARKS_FILE, CompileRequest

PR_SET_PDEATHSIG = 1


def main(path: Path) -> int:
    """Runs the request in the file at `path`; 0 when it is done, 1 when `failure.txt` tells why not."""
    try:
        request = TypeAdapter(CompileRequest).validate_json(path.read_bytes())
        remarks = importlib.import_module(request.compiler).compile_model(request)
        (request.out / REMARKS_FILE).write_bytes(TypeAdapter(tuple[str, ...]).dump_json(remarks))
    except PackError as error:
        failure = str(error)
    except MemoryError:
        failure = "there is not enough memory"
    except Exception as error:
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    else:
        return 0
    path.with_name(FAILURE_FILE).write_text(" ".join(failure.split())[:400], "utf-8")
    return 1


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed build leaves no compiler running
    sys.exit(main(Path(sys.argv[1])))
