"""Announce an endpoint to a Consul agent, keep its check alive, and take it away again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from langchain_cluster.discovery.consul import PORT
from langchain_cluster.discovery.describe import entry_of
from langchain_cluster.discovery.load import load_text
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.endpoint import Endpoint, Load
from langchain_cluster.registry.consul_api import ConsulApi
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.wire import Steps, Wire

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LONGEST_VALUE = 512  # Consul's own limits, told here by name


class ConsulRegistrar:
    """Registers endpoints as instances of a service. Needs the extra `consul`.

    Everything goes to one agent, the one on the endpoint's own machine: a service belongs to the agent
    it was registered with.

    Args:
        service: its name in Consul.
        address: url of the agent.
        token_env, token_file: where the ACL token is read, anew for each request; None for no token.
        ttl: seconds without a heartbeat after which an endpoint is critical.
        http: a path such as "/health" that the agent asks instead, every `interval` seconds. Then a
            heartbeat only makes sure that the agent knows the endpoint, and carries no load.
        interval: seconds between two of the agent's own checks.
        deregister_after: seconds an endpoint may be critical until Consul forgets it, >= 60; None for ever.
        timeout: seconds the agent may take.
        namespace, partition: where the service is, if not where the agent is.
        ca, cert, key, verify: TLS, as for `ConsulDiscovery`.

    Raises:
        ConfigError: an argument that cannot be. ImportError: py-consul is not installed.
    """

    def __init__(
        self,
        service: str,
        address: str = "http://127.0.0.1:8500",
        *,
        token_env: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ttl: float = 15.0,
        http: str | None = None,
        interval: float = 5.0,
        deregister_after: float | None = 60.0,
        timeout: float = 5.0,
        namespace: str | None = None,
        partition: str | None = None,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        verify: bool = True,
    ) -> None:
        self._name = f"ConsulRegistrar({service!r})"
        if not service or "/" in service:
            raise ConfigError(f"{service!r} is not the name of a service", key="registrar.service")
        for name, value in (("ttl", ttl), ("interval", interval), ("timeout", timeout)):
            if not value > 0:
                raise ConfigError(f"{value!r} is not a number > 0 (seconds)", key=f"registrar.{name}")
        if deregister_after is not None and not deregister_after >= 60:
            raise ConfigError(
                f"{deregister_after!r} is not >= 60 (seconds): Consul does not look more often",
                key="registrar.deregister_after",
            )
        self._service, self.ttl = service, ttl
        self._http, self._interval, self._after, self._timeout = http, interval, deregister_after, timeout
        where = {"ns": namespace, "partition": partition}
        self._api = ConsulApi(
            self._name,
            Servers(address, key="registrar.address", port=PORT),
            token=Secret(self._name, "token", token_env, token_file),
            params={name: value for name, value in where.items() if value is not None},
            timeout=timeout,
        )
        self._wire = Wire(self._name, ca=ca, cert=cert, key=key, verify=verify)
        self._mine: dict[str, Endpoint] = {}

    def register(self, endpoint: Endpoint) -> None:
        """Announce `endpoint`, or describe it anew; it counts as well until a check says otherwise.

        Raises:
            ConfigError: it has no url, or something Consul does not keep.
            DiscoveryError: the agent did not answer, or refused.
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
        """It is well, and this is its load. An agent that forgot it, by a restart, is told of it again.

        Raises:
            ConfigError: it was not registered here. DiscoveryError: the agent did not answer.
        """
        self._wire.run(self._heartbeat(id, load))

    async def aheartbeat(self, id: str, load: Load | None = None) -> None:
        """The asyncio twin of `heartbeat`."""
        await self._wire.arun(self._heartbeat(id, load))

    def close(self) -> None:
        """End what is under way, at once. Registered endpoints stay: `deregister` takes them away."""
        self._wire.close()

    def _register(self, endpoint: Endpoint) -> Steps[None]:
        entry = entry_of(endpoint)
        _keepable(entry.meta, endpoint.id)
        done = yield from self._api.one(
            self._api.agent.service.register(
                self._service,
                service_id=entry.id,
                address=entry.address,
                port=entry.port,
                tags=list(entry.tags),
                meta=dict(entry.meta),
                check=self._check(endpoint),
            )
        )
        if not done:
            raise DiscoveryError(self._name, "the agent has no service endpoint: is it Consul?")
        if self._http is None:
            # A first heartbeat: without one an agent that restarts does not remember that it was well.
            yield from self._api.one(self._api.agent.check.ttl_pass(f"service:{entry.id}"))
        self._mine[endpoint.id] = endpoint

    def _check(self, endpoint: Endpoint) -> dict[str, Any]:
        check: dict[str, Any] = {"status": "passing"}
        if self._http is None:
            check["ttl"] = f"{self.ttl:g}s"
        else:
            assert endpoint.url is not None  # `entry_of` has looked
            check["http"] = "/".join(endpoint.url.split("/", 3)[:3]) + self._http
            check["interval"], check["timeout"] = f"{self._interval:g}s", f"{self._timeout:g}s"
        if self._after is not None:
            check["DeregisterCriticalServiceAfter"] = f"{self._after:g}s"
        return check

    def _deregister(self, id: str) -> Steps[None]:
        self._mine.pop(id, None)
        try:
            yield from self._api.one(self._api.agent.service.deregister(id))
        except DiscoveryError as error:
            if "Unknown service" not in str(error):
                raise

    def _heartbeat(self, id: str, load: Load | None) -> Steps[None]:
        if id not in self._mine:
            raise ConfigError("it was not registered here", key=f"endpoint {id!r}")
        if self._http is not None:
            known = yield from self._api.one(self._api.agent.service_definition(id))
        else:
            notes = None if load is None else load_text(load)
            try:
                known = yield from self._api.one(self._api.agent.check.ttl_pass(f"service:{id}", notes))
            except DiscoveryError as error:
                if not any(sign in str(error) for sign in ("CheckID", "Unknown check")):
                    raise
                known = False
        if not known:
            yield from self._register(self._mine[id])

    def __repr__(self) -> str:
        return f"<ConsulRegistrar {self._service!r} at {self._api.servers!r}, {len(self._mine)} registered>"


def _keepable(meta: Mapping[str, str], id: str) -> None:
    for key, value in meta.items():
        if _KEY.fullmatch(key) is None or len(value) > _LONGEST_VALUE:
            raise ConfigError(
                f"Consul does not keep the metadata {key!r}: keys are 1-128 of A-Z, a-z, 0-9, _ and -, "
                f"values at most {_LONGEST_VALUE} characters",
                key=f"endpoint {id!r}",
            )
    if len(meta) > 64:
        raise ConfigError("Consul keeps at most 64 metadata keys", key=f"endpoint {id!r}")
