"""A master, a replica of it, and three sentinels that make the replica master when it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from langchain_cluster.testing.server_process import HOST
from tests.services.valkey import Valkey

SERVICE = "answers"


class Sentinel(Valkey):
    """One of the sentinels. It writes what it knows into its configuration."""

    def __init__(self, master: Valkey, password: str | None) -> None:
        super().__init__()
        path = Path(self._folder, "sentinel.conf")
        lines = [
            f"sentinel monitor {SERVICE} {HOST} {master.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        if password is not None:
            lines.append(f"sentinel auth-pass {SERVICE} {password}")
        path.write_text("\n".join(lines) + "\n")
        self._options, self._first = ("--sentinel",), str(path)


class ValkeySentinels:
    """Started by `with`; ready when the sentinels know one another and the replica.

    Args:
        password: of master and replica.
    """

    def __init__(self, password: str | None = None) -> None:
        asks = () if password is None else ("--requirepass", password, "--masterauth", password)
        common = ("--repl-diskless-sync-delay", "0", *asks)
        self.master = Valkey(*common)
        self.replica = Valkey(*common, "--replicaof", f"{HOST} {self.master.port}")
        self.sentinels = [Sentinel(self.master, password) for _ in range(3)]

    @property
    def url(self) -> str:
        """Of all three, without a password."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def __enter__(self) -> Self:
        try:
            for server in (self.master, self.replica, *self.sentinels):
                server.start()
            for sentinel in self.sentinels:
                _until(lambda sentinel=sentinel: _knows(sentinel))
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _knows(sentinel: Valkey) -> bool:
    with redis.Redis(HOST, sentinel.port, protocol=2, decode_responses=True) as client:
        state: Any = client.sentinel_master(SERVICE)
        replicas: Any = client.sentinel_slaves(SERVICE)
    return int(state["num-other-sentinels"]) == 2 and [one["master-link-status"] for one in replicas] == [
        "ok"
    ]


def _until(holds: Callable[..., bool], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "the sentinels do not come together"
        time.sleep(0.05)
