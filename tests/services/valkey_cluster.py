"""Three masters and a replica of each, joined into one cluster, in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import redis

from langchain_cluster.testing.server_process import HOST, free_port
from tests.services.valkey import Valkey

OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


class ValkeyCluster:
    """Started by `with`; ready when every replica follows its master."""

    def __init__(self) -> None:
        # Ports of their own for the bus too: 10,000 above the other one somebody may listen already.
        self._bus = [free_port() for _ in range(6)]
        self.nodes = [Valkey(*OPTIONS, "--cluster-port", str(port)) for port in self._bus]

    @property
    def url(self) -> str:
        """Of its first three nodes."""
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes[:3])

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def _join(self) -> None:
        clients: list[Any] = [redis.Redis(HOST, node.port, decode_responses=True) for node in self.nodes]
        for client, (first, last) in zip(clients, SLOTS, strict=False):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", HOST, self.nodes[0].port, self._bus[0])
        ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
        _until(lambda: all(_info(client, "cluster_known_nodes", "6") for client in clients))
        for client, master in zip(clients[3:], ids, strict=False):
            _until(lambda client=client, master=master: _follows(client, master))
        _until(lambda: all(_info(client, "cluster_state", "ok") for client in clients))
        _until(lambda: all(c.info("replication").get("master_link_status") == "up" for c in clients[3:]))
        for client in clients:
            client.close()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _info(client: Any, name: str, value: str) -> bool:
    said = client.execute_command("CLUSTER INFO")
    return said.get(name) == value if isinstance(said, dict) else f"{name}:{value}" in said


def _follows(client: Any, master: str) -> bool:
    try:
        client.execute_command("CLUSTER", "REPLICATE", master)
        return True
    except redis.ResponseError:
        return False  # it has not heard of that one yet


def _until(holds: Callable[..., bool], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "the cluster does not come together"
        time.sleep(0.02)
