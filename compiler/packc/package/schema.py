"""Triton's own schema of config.pbtxt, imported only when it is needed."""

from __future__ import annotations

from typing import Any

from packc.errors import MissingError


def config_schema() -> Any:
    """The module `model_config_pb2` (ModelConfig and its parts). Raises MissingError without tritonclient."""
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise MissingError(
            f"Triton's configuration schema is not installed: {error}",
            hint="pip install 'packc[server]'",
        ) from error
    return model_config_pb2
