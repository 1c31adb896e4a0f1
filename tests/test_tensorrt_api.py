from __future__ import annotations

from enum import IntEnum
from types import SimpleNamespace

import pytest

from goldens import GOLDEN
from tensorrt_api import CLASSES, describe_member, list_api
from tensorrt_stub import IMPLEMENTATIONS, VERSIONS, read_api


def test_a_listing_has_members_with_parameters_and_values() -> None:
    class Builder:
        max_threads = property()

        def create_network(self) -> None:
            """create_network(self: tensorrt.tensorrt.Builder, flags: int = 0) -> tensorrt.INetworkDefinition"""

        def reset(self) -> None:
            """reset(self: tensorrt.tensorrt.Builder) -> None"""

        def _hidden(self) -> None:
            pass

    flags = IntEnum("BuilderFlag", {"TF32": 7})
    module = SimpleNamespace(__version__="10.1", Builder=Builder, BuilderFlag=flags, Other=Builder)
    lines = list_api(module)
    assert lines[:4] == ["tensorrt 10.1", "Builder.create_network(flags)", "Builder.max_threads", "Builder.reset()"]
    assert "BuilderFlag.TF32 = 7" in lines


def test_a_method_without_a_signature_takes_anything() -> None:
    assert describe_member(lambda: None) == "(...)"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stub_is_of_a_version_that_was_listed(version: str) -> None:
    full, api = read_api(version)
    assert f"{full}.".startswith(f"{version}.")
    assert set(api) <= set(CLASSES)
    assert set(IMPLEMENTATIONS) - set(api) <= {"OnnxParserRefitter"}


def test_no_listing_is_without_a_stub() -> None:
    assert {path.name for path in (GOLDEN / "tensorrt").iterdir()} == {f"api-{version}.txt" for version in VERSIONS}
