"""The healthy instances of a Consul service, followed by blocking queries.

An index is worth something only to the agent that gave it, and only while nothing has failed: an agent
that restarted counts from the beginning, and a query for an index it will not reach for hours would wait.
So after any failure, on another agent, and when the index went backwards, the first query does not block.
https://developer.hashicorp.com/consul/api-docs/features/blocking
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_cluster.discovery.entry import Entry, mapping_of
from langchain_cluster.discovery.known import Known
from langchain_cluster.discovery.load import load_of
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.endpoint import Rejected, Roster
from langchain_cluster.registry.consul_api import ConsulApi, Said
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.text import printable
from langchain_cluster.registry.wire import Answer, Pause, Steps, Wire

PORT = 8500
BREATH = 0.1  # seconds between two queries whose answers say the same: Consul's index moves for others too
LONGEST_WAIT = 600.0  # seconds; Consul's own limit


class ConsulDiscovery:
    """Endpoints from Consul's health endpoint. Needs the extra `consul`.

    Args:
        service: its name in Consul.
        address: url of an agent, or several, asked in turn when one does not answer.
        token_env, token_file: where the ACL token is read, anew for each query; None for no token.
        tags: instances must have all of them.
        wait: seconds a blocking query waits for a change, 0-600.
        timeout: seconds an agent may take beside that.
        datacenter, namespace, partition: where the service is, if not where the agent is.
        passing: only instances all of whose checks pass.
        stale: any server may answer, not just the leader; `cached`: the agent itself may.
        mapping: field of an endpoint -> the metadata key it is read from, where it is not of that name.
        ca, cert, key, verify: TLS: files with the certificates to trust, one to show, and its key.
        now: monotonic seconds.

    Raises:
        ConfigError: an argument that cannot be. ImportError: py-consul is not installed.
    """

    def __init__(
        self,
        service: str,
        address: str | Iterable[str] = "http://127.0.0.1:8500",
        *,
        token_env: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        tags: Iterable[str] = (),
        wait: float = 30.0,
        timeout: float = 5.0,
        datacenter: str | None = None,
        namespace: str | None = None,
        partition: str | None = None,
        passing: bool = True,
        stale: bool = False,
        cached: bool = False,
        mapping: Mapping[str, str] | None = None,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        verify: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = f"ConsulDiscovery({service!r})"
        if not service or "/" in service:
            raise ConfigError(f"{service!r} is not the name of a service", key="discovery.service")
        if not 0 < wait <= LONGEST_WAIT:
            raise ConfigError(f"{wait!r} is not in 0-{LONGEST_WAIT:g} (seconds)", key="discovery.wait")
        if not timeout > 0:
            raise ConfigError(f"{timeout!r} is not a number > 0 (seconds)", key="discovery.timeout")
        self._service, self._tags = service, [tags] if isinstance(tags, str) else list(tags)
        self._wait, self._passing, self._now = wait, passing, now
        self._reading = Reading(mapping_of(mapping))
        self._servers = Servers(address, key="discovery.address", port=PORT)
        where = {"dc": datacenter, "ns": namespace, "partition": partition}
        how = {"stale": "1" if stale else None, "cached": "1" if cached else None}
        self._api = ConsulApi(
            self._name,
            self._servers,
            token=Secret(self._name, "token", token_env, token_file),
            params={name: value for name, value in (where | how).items() if value is not None},
            timeout=timeout,
        )
        self._wire = Wire(self._name, ca=ca, cert=cert, key=key, verify=verify)
        self._known = Known()
        self._index: tuple[str, int] | None = None  # the agent it came from, and what it counts

    def fetch(self, after: int | None = None) -> Roster:
        """The roster once it differs from revision `after`, or after `wait` seconds.

        Raises:
            DiscoveryError: no agent answered, the token is refused, `close` was called.
        """
        return self._wire.run(self._fetch(after))

    async def afetch(self, after: int | None = None) -> Roster:
        """The asyncio twin of `fetch`."""
        return await self._wire.arun(self._fetch(after))

    def close(self) -> None:
        """End queries that wait, at once, with a DiscoveryError. A later one begins anew."""
        self._wire.close()

    def _fetch(self, after: int | None) -> Steps[Roster]:
        until = self._now() + self._wait
        blocks = not self._known.is_new_to(after)
        while True:
            began, left = self._known.answers, max(0.0, until - self._now())
            blocks = blocks and not self._known.is_new_to(after)  # another fetch may have heard meanwhile
            index, self._index = (self._index if blocks and left > 0 else None), None
            url, answer, (text, entries) = yield from self._api.perform(
                lambda agent, index=index, left=left: self._query(agent, index, left),  # type: ignore[misc]
                waits=left if index is not None else 0.0,
            )
            number = int(text) if str(text).isdecimal() else 0
            found = self._reading.read(self._entries(answer, entries))
            roster = self._known.settle(*found, began=began)
            if roster is None:
                blocks = False
                continue
            # After the roster: who waits for an index has to know what it stands for.
            # Backwards: what it counts is something else now. The same before the time was over: a snapshot
            # was restored, and servers answer with what they knew before that.
            blocks = index is None or index[0] != url or number > index[1]
            if blocks:
                # 0 is a bug of old servers, and would never block: 1 is always safe.
                self._index = (url, max(1, number))
            if roster.revision != after or self._now() >= until:
                return roster
            yield Pause(BREATH)

    def _query(self, agent: str, index: tuple[str, int] | None, left: float) -> Said:
        blocks = index is not None and index[0] == agent
        said: Said = self._api.health.service(
            self._service,
            index=index[1] if blocks and index is not None else None,
            wait=f"{max(1, round(left * 1000))}ms" if blocks else None,
            passing=self._passing or None,
            tag=self._tags or None,
        )
        return said

    def _entries(self, answer: Answer, entries: Any) -> list[Entry | Rejected]:
        if not isinstance(entries, list):
            raise DiscoveryError(self._name, "the answer is not a list of instances")
        if not entries and answer.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
            raise DiscoveryError(self._name, "its token may not read the service")
        return sorted((_entry(item) for item in entries), key=lambda entry: str(entry.id))

    def __repr__(self) -> str:
        return f"<ConsulDiscovery {self._service!r} at {self._servers!r}, {self._known!r}>"


def _entry(item: Any) -> Entry | Rejected:
    """An instance as Consul tells of it. Its ID is the service's name unless it was given another."""
    try:
        service, node = item["Service"], item["Node"]
        id = service["ID"]
        if id == service["Service"]:
            id = f"{id}@{node['Node']}"
        checks = item.get("Checks") or []
        weights = service.get("Weights") or {}
        passing = all(check.get("Status") == "passing" for check in checks)
        return Entry(
            id,
            service.get("Address") or node.get("Address") or "",
            service.get("Port") or 0,
            dict(service.get("Meta") or {}),
            tuple(service.get("Tags") or ()),
            float(weights.get("Passing" if passing else "Warning", 1)),
            next(filter(None, (load_of(check.get("Output")) for check in checks)), None),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        try:
            id = str(item["Service"]["ID"])
        except (KeyError, TypeError):
            id = "?"
        return Rejected(printable(id), f"Consul's entry is not understood: {type(error).__name__}")
