"""A Redis for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from langchain_cluster.testing.server_process import HOST
from tests.services.valkey import INSTALL, Valkey, binary


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    pytest.importorskip("redis")
    if binary() is None:
        pytest.skip(INSTALL)
    with Valkey() as server:
        yield server


@pytest.fixture
def raw(server: Valkey) -> Iterator[Any]:
    """A client of the test's own, on an empty server."""
    import redis

    with redis.Redis(HOST, server.port) as client:
        client.flushall()
        yield client
