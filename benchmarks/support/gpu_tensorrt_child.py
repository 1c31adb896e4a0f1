"""Runs TensorRT engines for gpu_tensorrt.py, in the Python that has TensorRT: standard library, numpy, pack's engine.

python gpu_tensorrt_child.py ENGINE.py     reads requests from stdin, a line of JSON each, and answers with one each

    {"do": "open", "plan", "options", "inputs": FILE.npz, "answers": FILE.npz, "warmup"}    -> {"row": 0}
    {"do": "time", "row", "what": "call" or "work", "least_calls", "least_s"}               -> {"ms": 0.6}

Whatever fails answers {"error": "one line"}. "call" takes and gives host arrays; "work" is a CUDA graph of the kernels
alone, with inputs and outputs on the device.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    child = Child(load_engine(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(child, request.pop("do"))(**request)
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {said[0]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Child:
    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.sessions: dict[str, Any] = {}
        self.rows: list[dict[str, Callable[[], Any]]] = []

    def open(self, plan: str, options: dict[str, Any], inputs: str, answers: str, warmup: int) -> dict[str, Any]:
        """A row of one engine at the shape of `inputs`, warm; its answers are written. Rows of an engine that were
        opened before may no longer be timed, as its memory may have moved."""
        engine = self.engine
        if plan not in self.sessions:
            self.sessions[plan] = engine.load(plan, options, 1)
        session = self.sessions[plan]
        given = dict(np.load(inputs))
        for _ in range(warmup):
            given_back = engine.run(session, given)
        np.savez(answers, **given_back)
        call = session.calls[tuple(given[name].shape for name in session.inputs)]
        engine.bind_call(session, call)
        engine.enqueue(session, call)
        session.device.call("cuStreamSynchronize", session.stream)
        graph = engine.capture(session.device, session.stream, lambda: engine.execute(session, call))

        def work() -> None:
            session.device.call("cuGraphLaunch", graph, session.stream)
            session.device.call("cuStreamSynchronize", session.stream)

        self.rows.append({"call": lambda: engine.run(session, given), "work": work})
        return {"row": len(self.rows) - 1}

    def time(self, row: int, what: str, least_calls: int, least_s: float) -> dict[str, Any]:
        """The median in milliseconds, as support.gpu_rows.time_calls has it."""
        call = self.rows[row][what]
        for _ in range(3):
            call()
        times: list[float] = []
        started = time.perf_counter()
        while len(times) < least_calls or time.perf_counter() - started < least_s:
            before = time.perf_counter()
            call()
            times.append((time.perf_counter() - before) * 1e3)
        return {"ms": statistics.median(times)}


def load_engine(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("engine", path)
    engine = importlib.util.module_from_spec(spec)
    sys.modules["engine"] = engine
    spec.loader.exec_module(engine)
    return engine


if __name__ == "__main__":
    main()
