from __future__ import annotations

import numpy as np
import pytest

from packc.errors import SourceError
from packc.package.datatypes import ELEMENT_BYTES, TRITON_TYPES, triton_type
from packc.package.schema import config_schema


def test_every_type_is_one_of_tritons_and_has_its_size() -> None:
    for dtype, name in TRITON_TYPES.items():
        assert config_schema().DataType.Value(name) > 0
        if dtype not in ("object", "bfloat16"):
            assert ELEMENT_BYTES[name] == np.dtype(dtype).itemsize


def test_types_that_clients_cannot_send() -> None:
    assert triton_type("x", "float16") == "TYPE_FP16"
    with pytest.raises(SourceError, match="'x' has element type float8_e4m3fn"):
        triton_type("x", "float8_e4m3fn")
