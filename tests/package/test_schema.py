from __future__ import annotations

import sys

import pytest

from packc.errors import MissingError
from packc.package.schema import config_schema


def test_schema() -> None:
    assert config_schema().ModelConfig(name="a").name == "a"


def test_without_tritonclient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(MissingError) as caught:
        config_schema()
    assert caught.value.hint == "pip install 'packc[server]'"
