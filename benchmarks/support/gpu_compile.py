"""Compiles one torch-cuda candidate of a model with random weights, as packc.runtimes.compile_worker does of a source.

python -m support.gpu_compile MODEL OPTIONS WEIGHTS OUT     OPTIONS are those of the candidate's step, as JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from packc.errors import PackError
from packc.runtimes.aotinductor_package import open_scratch
from packc.runtimes.cuda_toolkit import point_to_cuda


def main(name: str, options: str, weights: str, out: str) -> None:
    """Writes the package; torch and all that brings it are imported once the compiler's surroundings are set."""
    with open_scratch() as scratch:
        point_to_cuda(scratch.folder)
        from safetensors.torch import load_file

        from packc.runtimes.aotinductor_cuda_compile import compile_reference
        from support.gpu_models import GPU_MODELS

        model = GPU_MODELS[name]
        encoder = model.build("sdpa", load_file(weights))
        Path(out).mkdir()
        try:
            compile_reference(model.refer(encoder), json.loads(options), Path(out))
        except PackError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
