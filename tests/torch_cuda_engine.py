"""torch-cuda's engine as bundles and packages import it: its folder is where Python looks, and here that is undone.

pack hands the places where it looks to its workers, and the folder of the runtimes has the names of other packages.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from packc.runtimes.aotinductor_cuda import AotInductorCuda

FOLDER = str(Path(AotInductorCuda().engine).parent)

sys.path.append(FOLDER)
try:
    engine = importlib.import_module("packc.runtimes.aotinductor_cuda_engine")
finally:
    sys.path.remove(FOLDER)
