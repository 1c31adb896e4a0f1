"""What every section of a spec is, and the kinds of value that several of them hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


class Section(BaseModel):
    """A TOML table: unknown keys are errors, values keep their type, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
