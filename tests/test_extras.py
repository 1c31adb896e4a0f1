from __future__ import annotations

import pytest

from packc.extras import EXTRAS, Library, find_extra, list_libraries, matches


def test_the_libraries_are_those_of_the_extras() -> None:
    found = {library.name: library for library in list_libraries()}
    assert {library.extra for library in found.values()} == set(EXTRAS)
    assert found["transformers"].wanted.startswith("==")
    assert found["tritonclient"].extra == "server"
    assert "pytest" not in found


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.13.0+cpu", "<2.16,>=2.11", True),
        ("2.16.0", "<2.16,>=2.11", False),
        ("2.9", ">=2.11", False),
        ("5.23.0", "==5.23.0", True),
        ("5.23", "==5.23.0", True),
        ("5.23.1", "==5.23.0", False),
        ("1.0", "", True),
    ],
)
def test_versions(version: str, wanted: str, fits: bool) -> None:
    assert matches(version, wanted) is fits
    assert Library("x", "cpu", wanted, version).is_ready is fits


def test_what_is_not_installed_is_not_ready() -> None:
    assert not Library("x", "cpu", "", None).is_ready


def test_modules_lead_to_their_extra() -> None:
    assert find_extra("PIL.Image") == "cpu"
    assert find_extra("tritonclient.grpc") == "server"
    assert find_extra("packc.nothing") is None
    assert find_extra(None) is None
