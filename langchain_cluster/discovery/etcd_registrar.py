"""Announce an endpoint in etcd under a lease, keep the lease alive, and take it away again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from langchain_cluster.discovery.describe import entry_of
from langchain_cluster.discovery.etcd import PORT
from langchain_cluster.discovery.etcd_value import value_of
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.endpoint import Endpoint, Load
from langchain_cluster.registry.etcd_api import EtcdApi, coded
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.wire import Steps, Wire


@dataclass(slots=True)
class _Mine:
    endpoint: Endpoint
    lease: str
    load: Load | None = None


class EtcdRegistrar:
    """Writes endpoints as keys under a prefix, each with a lease of its own.

    Args:
        prefix: the one `EtcdDiscovery` reads, such as "/llm/endpoints/".
        endpoints: url of an etcd server, or several, asked in turn.
        user_env, password_env, password_file: where the user's name and password are read; None for none.
        ttl: whole seconds without a heartbeat after which etcd forgets an endpoint, >= 1.
        timeout: seconds a server may take.
        ca, cert, key, verify: TLS, as for `EtcdDiscovery`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        prefix: str,
        endpoints: str | Iterable[str] = "http://127.0.0.1:2379",
        *,
        user_env: str | None = None,
        password_env: str | None = None,
        password_file: str | os.PathLike[str] | None = None,
        ttl: int = 15,
        timeout: float = 5.0,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        verify: bool = True,
    ) -> None:
        self._name = f"EtcdRegistrar({prefix!r})"
        if not prefix:
            raise ConfigError("is empty", key="registrar.prefix")
        if not 1 <= ttl < float("inf") or int(ttl) != ttl:
            raise ConfigError(f"{ttl!r} is not an integer >= 1 (seconds)", key="registrar.ttl")
        if not timeout > 0:
            raise ConfigError(f"{timeout!r} is not a number > 0 (seconds)", key="registrar.timeout")
        self._prefix, self.ttl = prefix, ttl
        self._api = EtcdApi(
            self._name,
            Servers(endpoints, key="registrar.endpoints", port=PORT),
            user=Secret(self._name, "user", user_env),
            password=Secret(self._name, "password", password_env, password_file),
            timeout=timeout,
        )
        self._wire = Wire(self._name, ca=ca, cert=cert, key=key, verify=verify)
        self._mine: dict[str, _Mine] = {}

    def register(self, endpoint: Endpoint) -> None:
        """Announce `endpoint`, or describe it anew.

        Raises:
            ConfigError: it has no url. DiscoveryError: no server answered, or etcd refused.
        """
        self._wire.run(self._register(endpoint))

    async def aregister(self, endpoint: Endpoint) -> None:
        """The asyncio twin of `register`."""
        await self._wire.arun(self._register(endpoint))

    def deregister(self, id: str) -> None:
        """Take it away; one that is not there is no error."""
        self._wire.run(self._deregister(id))

    async def aderegister(self, id: str) -> None:
        """The asyncio twin of `deregister`."""
        await self._wire.arun(self._deregister(id))

    def heartbeat(self, id: str, load: Load | None = None) -> None:
        """It is well, and this is its load. An endpoint whose lease has expired is announced again.

        Raises:
            ConfigError: it was not registered here. DiscoveryError: no server answered.
        """
        self._wire.run(self._heartbeat(id, load))

    async def aheartbeat(self, id: str, load: Load | None = None) -> None:
        """The asyncio twin of `heartbeat`."""
        await self._wire.arun(self._heartbeat(id, load))

    def close(self) -> None:
        """End what is under way, at once. Registered endpoints stay until their leases end."""
        self._wire.close()

    def _register(self, endpoint: Endpoint, load: Load | None = None) -> Steps[None]:
        entry_of(endpoint)  # what cannot be announced is told before anything is
        old = self._mine.get(endpoint.id)
        if old is not None and (yield from self._keep(old.lease)):
            lease = old.lease
        else:
            granted = yield from self._api.call("/v3/lease/grant", {"TTL": str(self.ttl), "ID": "0"})
            lease = str(granted.get("ID", ""))
            if not lease.isdecimal():
                raise DiscoveryError(self._name, "etcd granted no lease")
        yield from self._put(_Mine(endpoint, lease, load))

    def _put(self, mine: _Mine) -> Steps[None]:
        load: dict[str, Any] | None = None
        if mine.load is not None:
            load = {name: value for name, value in asdict(mine.load).items() if value is not None}
        put = {
            "key": coded(self._prefix + mine.endpoint.id),
            "value": coded(value_of(entry_of(mine.endpoint), load)),
            "lease": mine.lease,
        }
        yield from self._api.call("/v3/kv/put", put)
        self._mine[mine.endpoint.id] = mine

    def _keep(self, lease: str) -> Steps[bool]:
        """Keep a lease alive; whether it still was."""
        kept = yield from self._api.call("/v3/lease/keepalive", {"ID": lease})
        result = kept.get("result") or {}
        return str(result.get("TTL", "0")) != "0"

    def _deregister(self, id: str) -> Steps[None]:
        mine = self._mine.pop(id, None)
        yield from self._api.call("/v3/kv/deleterange", {"key": coded(self._prefix + id)})
        if mine is not None:
            try:
                yield from self._api.call("/v3/lease/revoke", {"ID": mine.lease})
            except DiscoveryError as error:
                if "lease not found" not in str(error):  # it has expired: just as well
                    raise

    def _heartbeat(self, id: str, load: Load | None) -> Steps[None]:
        mine = self._mine.get(id)
        if mine is None:
            raise ConfigError("it was not registered here", key=f"endpoint {id!r}")
        if not (yield from self._keep(mine.lease)):
            yield from self._register(mine.endpoint, load or mine.load)
        elif load is not None and load != mine.load:
            yield from self._put(_Mine(mine.endpoint, mine.lease, load))

    def __repr__(self) -> str:
        return f"<EtcdRegistrar {self._prefix!r} at {self._api.servers!r}, {len(self._mine)} registered>"
