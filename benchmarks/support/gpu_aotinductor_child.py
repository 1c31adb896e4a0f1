"""Runs one torch-cuda package with pack's engine, for gpu_aotinductor.py.

    python -m support.gpu_aotinductor_child PACKAGE INPUTS.npz ANSWERS.npz OPTIONS

Each line that it reads, it answers with milliseconds: "open" loads the package, warms up and writes the answers; "call"
times calls from host arrays to host arrays; "work" what the GPU does in them. It ends when anything fails.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from packc.runtimes.aotinductor_cuda import AotInductorCuda
from support.gpu_rows import WARMUP, load_engine, time_calls


def main(package: str, inputs: str, answers: str, options: str) -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    path = AotInductorCuda().engine
    sys.path.append(str(path.parent))  # where the engine finds its other file, as in a bundle
    engine = load_engine(path)
    given = dict(np.load(inputs))
    session: Any = None

    def call() -> None:
        engine.run(session, given)

    def work() -> None:
        with torch.inference_mode(), torch.cuda.stream(session.stream):
            engine.compute(session, next(iter(session.bound.values())))
            session.stream.synchronize()

    for line in sys.stdin:
        if line.strip() == "open":
            started = time.perf_counter()
            session = engine.load(package, json.loads(options), 1)
            for _ in range(WARMUP):
                found = engine.run(session, given)
            np.savez(Path(answers), **found)
            took_ms = (time.perf_counter() - started) * 1e3
        else:
            took_ms = time_calls(work if line.strip() == "work" else call)
        print(took_ms, file=told, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
