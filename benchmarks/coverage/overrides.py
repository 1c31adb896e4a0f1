"""What a config needs besides shrinking, by model type or by class: values that depend on each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OVERRIDES: Mapping[str, Mapping[str, Any]] = {}
