"""How the clients of a Redis are made."""

from __future__ import annotations

import pytest

pytest.importorskip("redis")

from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.clients import Clients, disconnect


@pytest.mark.parametrize("scheme", ["redis+sentinel", "rediss+sentinel"])
def test_sentinels_are_asked_as_briefly_as_the_server_and_are_told_no_password(scheme: str) -> None:
    address = RedisAddress.parse(f"{scheme}://app:s3cret@127.0.0.1:1,127.0.0.1:2/answers/0")
    client = Clients(address, connect_timeout=0.25, timeout=0.5).make()
    for sentinel in client.connection_pool.sentinel_manager.sentinels:
        told = sentinel.connection_pool.connection_kwargs
        assert (told["socket_connect_timeout"], told["socket_timeout"]) == (0.25, 0.5)
        assert told["retry"]._retries == 1, "and not the library's own, which take seconds"
        assert not {told.get("username"), told.get("password")} & {"app", "s3cret"}
        assert ("SSL" in sentinel.connection_pool.connection_class.__name__) == (scheme[5] == "s")
    disconnect(client)
