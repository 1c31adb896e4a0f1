"""A real tritonserver for end-to-end tests, installed once in the default cache and kept there."""

from __future__ import annotations

import pytest

from packc.cache import Cache
from packc.errors import MissingError
from packc.server.environment import Server, find_server
from packc.server.install import install_server


@pytest.fixture(scope="session")
def triton_server() -> Server:
    """The server that `pack` itself would use; installed when there is none (about 15 s, 350 MB)."""
    if (server := find_server()) is not None:
        return server
    try:
        install_server(Cache())
    except MissingError as error:
        pytest.skip(f"no Triton server can be installed here: {error}")
    server = find_server()
    assert server is not None
    return server
