"""One holder per fleet by a lock in Consul: a key held by a session that ends unless it is renewed.

Consul ends a session no earlier than its time to live after its last renewal, and no later than twice
that, so a holder's own term is over before somebody else's begins. The token is the index at which the
key was locked, which Consul's consensus makes larger each time.
https://developer.hashicorp.com/consul/docs/dynamic-app-config/sessions
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from langchain_cluster.errors import DiscoveryError
from langchain_cluster.leadership.by_registry import ByRegistry
from langchain_cluster.registry.consul_api import ConsulApi
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.wire import Steps, Wire


class ConsulLeadership(ByRegistry):
    """A `Leadership` in Consul. Needs the extra `consul`.

    Args:
        key: in Consul's key-value store. Who uses another key is another fleet.
        address: url of an agent, or several, asked in turn.
        token_env, token_file: where the ACL token is read; None for none.
        lease: seconds a term lasts unless it is renewed, 10-86400: Consul's own limits; rounded down.
        timeout: seconds an agent may take.
        ca, cert, key_file, verify: TLS.

    Raises:
        ConfigError: one of them cannot be meant. ImportError: py-consul is not installed.
    """

    def __init__(
        self,
        key: str = "langchain-cluster/leader",
        address: str | Iterable[str] = "http://127.0.0.1:8500",
        *,
        token_env: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        lease: float = 30.0,
        timeout: float = 2.0,
        ca: str | None = None,
        cert: str | None = None,
        key_file: str | None = None,
        verify: bool = True,
    ) -> None:
        source = f"ConsulLeadership({key!r})"
        super().__init__(source, lease, least=10.0, most=86400.0)
        self.lease = float(int(lease))  # the session's, in whole seconds: a term must not outlast it
        self._key = key
        self._api = ConsulApi(
            source,
            Servers(address, key=f"{source}.address", port=8500),
            token=Secret(source, "token", token_env, token_file),
            params={},
            timeout=timeout,
        )
        self._wire = Wire(source, ca=ca, cert=cert, key=key_file, verify=verify)

    def _take(self) -> Steps[tuple[int, str] | None]:
        found = yield from self._read()
        if found and found.get("Session"):
            return None  # asking costs nothing; a session of our own would be a write for all servers
        session = yield from self._api.one(
            # No delay after a holder is lost: its term is over by then. No checks: a node that is
            # thought dead by mistake keeps its term.
            self._api.session.create(
                "langchain-cluster", checks=[], lock_delay=0.001, behavior="release", ttl=int(self.lease)
            )
        )
        locked = yield from self._api.one(self._api.kv.put(self._key, "", acquire=session))
        found = (yield from self._read()) if locked else None
        if not found or found.get("Session") != session:
            yield from self._api.one(self._api.session.destroy(session))
            return None
        return int(found["ModifyIndex"]), str(session)

    def _read(self) -> Steps[dict[str, Any] | None]:
        """The key as all servers agree on it."""
        _, found = yield from self._api.one(self._api.kv.get(self._key, consistency="consistent"))
        return found if isinstance(found, dict) else None

    def _keep(self, mark: str) -> Steps[bool]:
        try:
            yield from self._api.one(self._api.session.renew(mark))
        except DiscoveryError as error:
            if "NotFound" in str(error):
                return False
            raise
        found = yield from self._read()
        return found is not None and found.get("Session") == mark

    def _drop(self, mark: str) -> Steps[None]:
        yield from self._api.one(self._api.session.destroy(mark))
