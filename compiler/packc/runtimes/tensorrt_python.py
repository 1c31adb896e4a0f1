"""The Python that has TensorRT: pack's own, or the one that PACK_TENSORRT_PYTHON names.

TensorRT often lives in another interpreter than pack: a Jetson's, that of a Triton image, an older one for an older
TensorRT. It may be a script that sets LD_LIBRARY_PATH and then runs Python. It is asked once a process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from packc.child import foreign_environment

VARIABLE = "PACK_TENSORRT_PYTHON"
ENGINE = Path(__file__).with_name("tensorrt_engine.py")
ENGINE_FILES = tuple(
    ENGINE.with_name(f"tensorrt_{name}.py") for name in ("driver", "plan", "profiles", "session", "build")
)
"""What the adapter imports, and has to lie beside it."""
ASK_LIMIT_S = 60.0
ASKED = "when it was asked for its TensorRT"

STRONGLY_TYPED = 10
"""The first dialect in which the graph alone says each precision."""

NEWER_GRAPHS = 10
"""The first version whose parser reads `start` and `end` of Shape; 9 has strong types and the older parser's habits."""

QUESTION = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("engine", sys.argv[1])
sys.modules["engine"] = engine = module_from_spec(spec)
spec.loader.exec_module(engine)
from tensorrt_plan import find_dialect, find_version
print(json.dumps([find_version(), find_dialect()]))
"""
"""Asked through the adapter, so that its version is the one that engines are stamped with."""


@dataclass(frozen=True, slots=True)
class TensorRtPython:
    """An interpreter and its TensorRT."""

    python: Path | None
    """None: pack's own."""
    version: str
    """In full, "10.16.1.11": an engine belongs to it."""
    dialect: int
    """8, 10 or 11: the oldest TensorRT with the same interface."""

    @property
    def is_strongly_typed(self) -> bool:
        return self.dialect >= STRONGLY_TYPED

    @property
    def reads_newer_graphs(self) -> bool:
        """Whether its parser takes graphs as they are exported: of opset 18 and later, with a Shape of some axes."""
        return int(self.version.partition(".")[0]) >= NEWER_GRAPHS


@dataclass(frozen=True, slots=True)
class Lookup:
    """What came of looking for TensorRT."""

    found: TensorRtPython | None
    problem: str
    """Why there is none; empty where it was found."""


def find_tensorrt() -> Lookup:
    """TensorRT in the named interpreter, else in this one; starts that interpreter the first time."""
    return _look(os.environ.get(VARIABLE, ""))


def is_named() -> bool:
    """Whether the user named an interpreter, and so wants to know what became of it."""
    return bool(os.environ.get(VARIABLE))


@cache
def _look(named: str) -> Lookup:
    if not named and find_spec("tensorrt") is None:
        return Lookup(None, f"tensorrt is not installed here: install it, or name its Python with {VARIABLE}")
    path = shutil.which(named) if named else None
    if named and path is None:
        return Lookup(None, f"{VARIABLE} names {named}, which cannot be run: name a Python that has tensorrt")
    python = Path(path).absolute() if path else None  # not resolved: an environment's python is a link
    try:
        told = subprocess.run(
            [python or sys.executable, "-c", QUESTION, ENGINE],
            cwd="/",
            env=foreign_environment(os.environ) if python else None,
            capture_output=True,
            text=True,
            timeout=ASK_LIMIT_S,
            check=True,
        ).stdout
        lines = told.strip().splitlines()
        if not lines:
            return Lookup(None, f"{_name(python)} answered nothing {ASKED}: is it a Python?")
        found = _read_answer(lines[-1], python)
    except subprocess.TimeoutExpired:
        return Lookup(None, f"{_name(python)} did not answer in {ASK_LIMIT_S:g} s {ASKED}")
    except OSError as error:
        return Lookup(None, f"{_name(python)} could not be asked for its TensorRT: {error}")
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        why = lines[-1] if lines else f"status {error.returncode}"
        return Lookup(None, f"{_name(python)} cannot import tensorrt and numpy: {why}")
    if found is None:
        return Lookup(None, f"{_name(python)} answered something else {ASKED}: is it a Python?")
    return Lookup(found, "")


def _read_answer(line: str, python: Path | None) -> TensorRtPython | None:
    """What QUESTION had it print; None for anything else."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    match answer:
        case [str(version), int(dialect)] if version[:1].isdigit():
            return TensorRtPython(python, version, dialect)
    return None


def _name(python: Path | None) -> str:
    return f"{python} ({VARIABLE})" if python else "this Python"
