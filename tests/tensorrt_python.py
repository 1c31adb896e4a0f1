"""An interpreter that has TensorRT, as far as pack asks it: a script that answers, and builds engines of few words."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = """#!{python}
import json, sys
from pathlib import Path
if sys.argv[1] == "-c":
    print("a line of the driver's")
    print(json.dumps([{version!r}, {dialect}]))
    sys.exit()
model, plan, options = (Path(word) for word in sys.argv[2:])
told = json.loads(options.read_text())
if failure := {failure!r}:
    sys.exit("a warning\\nRuntimeError: " + failure)
timings = Path(told["timing_cache"])
timings.write_text(timings.read_text() + "+" if timings.exists() else "+")
plan.write_text("engine of " + model.read_text())
facts = dict(tensorrt={version!r}, device="NVIDIA H200", compute_capability="9.0", driver="570.86.15", build_s=41.6,
             options=told, profiles=told.get("profiles", []))
plan.with_suffix(".json").write_text(json.dumps(facts))
layers = [
    dict(Name="gemm_mha_v2", Outputs=[{{"Format/Datatype": "Row major linear FP16 format"}}]),
    dict(Name="head", Outputs=[{{"Format/Datatype": "Row major linear FP32"}}]),
    "a layer without details",
]
plan.with_suffix(".layers.json").write_text(json.dumps(dict(Layers=layers)))
"""


def write_tensorrt_python(path: Path, version: str = "8.6.0", dialect: int = 8, failure: str = "") -> Path:
    """Writes the script to `path`; `failure` is what its builder fails with."""
    path.write_text(SCRIPT.format(python=sys.executable, version=version, dialect=dialect, failure=failure))
    path.chmod(0o755)
    return path
