"""What a repository needs of the machine that serves it, told before anything is installed for it."""

from __future__ import annotations

from pathlib import Path

from packc.errors import MissingError
from packc.gpu import find_gpu
from packc.package.lint.repository import read_repository
from packc.package.schema import config_schema
from packc.target_profiles import NO_GPU


def require_gpu(repository: Path) -> None:
    """Raises MissingError where a model of the `repository` has instances on a GPU and this machine has none."""
    models, _ = read_repository(repository)
    on_gpu = config_schema().ModelInstanceGroup.KIND_GPU
    needing = [
        name for name, model in models.items() if any(group.kind == on_gpu for group in model.config.instance_group)
    ]
    if needing and find_gpu() is None:
        raise MissingError(
            f"{repository}: the model {needing[0]} runs on an NVIDIA GPU, and {NO_GPU}",
            hint="serve it where the GPU is, and give that server's address with `--url` to what asks it from here; "
            "`nvidia-smi` shows what the driver sees, and a container needs --gpus all",
        )
