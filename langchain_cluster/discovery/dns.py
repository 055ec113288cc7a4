"""Endpoints from DNS: the addresses of a name, or its SRV records, looked up again when they expire.

This is how a headless service of Kubernetes tells of its pods. A name that does not exist has nobody; a
server that cannot answer is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import Any

from langchain_cluster.discovery.entry import Entry
from langchain_cluster.discovery.known import Known
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.discovery.waiting import Waiting
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.extras import need
from langchain_cluster.model.address import host_problem, port_problem
from langchain_cluster.model.endpoint import Roster

RECORDS = ("A", "AAAA", "SRV")
PORT = 53
_Found = tuple[list[Entry], float]  # and the seconds until they expire


class DnsDiscovery:
    """Endpoints from DNS. Needs the extra `dns`.

    An endpoint's id is `address:port`. With SRV records the address is the name of their target, their
    weight is its weight, and their priorities, lowest first, are its levels.

    Args:
        host: the name, such as "llm.default.svc.cluster.local" or "_http._tcp.llm.default.svc.cluster.local".
        port: of every endpoint; None for SRV records, which say it.
        record: "A", "AAAA" or "SRV"; by default SRV without a port, and else A, or AAAA if there is no A.
        scheme, path: of the endpoints' urls.
        metadata: of every endpoint, such as {"model": "llama-3"}.
        nameservers: addresses of servers, with ":port" if it is not 53; those of the system if None.
        min_ttl, max_ttl: seconds; an answer is used for at least and at most that long, whatever it says.
        wait: seconds a fetch waits for a change.
        timeout: seconds a lookup may take.
        now, pause: monotonic seconds, and how to wait so many until an event is set; for tests.

    Raises:
        ConfigError: an argument that cannot be. ImportError: dnspython is not installed.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        record: str | None = None,
        scheme: str = "http",
        path: str = "",
        metadata: Mapping[str, str] | None = None,
        nameservers: Iterable[str] | None = None,
        min_ttl: float = 1.0,
        max_ttl: float = 300.0,
        wait: float = 30.0,
        timeout: float = 2.0,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        self._name = f"DnsDiscovery({host!r})"
        if record is not None and record not in RECORDS:
            raise ConfigError(
                f"unknown record {record!r}", key="discovery.record", valid=RECORDS, got=str(record)
            )
        self._records = ("SRV",) if port is None else ("A", "AAAA") if record is None else (record,)
        for name, problem in (
            ("host", host_problem(host)), ("port", None if port is None else port_problem(port))
        ):  # fmt: skip
            if problem is not None:
                raise ConfigError(problem, key=f"discovery.{name}")
        if port is None and record not in (None, "SRV"):
            raise ConfigError("is missing: only SRV records say it", key="discovery.port")
        for name, value in (("min_ttl", min_ttl), ("max_ttl", max_ttl), ("wait", wait), ("timeout", timeout)):
            if not value > 0:
                raise ConfigError(f"{value!r} is not a number > 0 (seconds)", key=f"discovery.{name}")
        self._host, self._port = host, port
        self._meta = {"scheme": scheme, "path": path, **(metadata or {})}
        self._shortest, self._longest = min_ttl, max(min_ttl, max_ttl)
        self._wait, self._now, self._pause = wait, now, pause
        self._resolver = _resolver(nameservers, timeout)
        self._reading = Reading()
        self._known = Known()
        self._waiting = Waiting(self._name)
        self._due = 0.0  # when what is known expires

    def fetch(self, after: int | None = None) -> Roster:
        """The roster once it differs from revision `after`, or after `wait` seconds.

        Raises:
            DiscoveryError: no server answered in time, or `close` was called.
        """
        return self._waiting.run(lambda stop: self._fetch(after, stop))

    async def afetch(self, after: int | None = None) -> Roster:
        """The asyncio twin of `fetch`."""
        return await self._waiting.arun(lambda stop: self._fetch(after, stop))

    def close(self) -> None:
        """End fetches that wait, at once, with a DiscoveryError; a lookup ends by its timeout."""
        self._waiting.close()

    def _fetch(self, after: int | None, stop: Event) -> Roster:
        until = self._now() + self._wait
        looks = self._known.is_new_to(after)
        while True:
            while not looks and self._now() < min(self._due, until) and not stop.is_set():
                if self._known.is_new_to(after):
                    break  # another fetch has heard of it
                self._pause(stop, min(self._due, until) - self._now())
            known = self._known.roster
            over = self._now() >= until or stop.is_set() or self._known.is_new_to(after)
            if known is not None and over and not looks:
                return known
            looks = False
            began = self._known.answers
            entries, ttl = self._look_up()
            roster = self._known.settle(*self._reading.read(entries), began=began)
            if roster is None:
                continue  # another fetch has looked meanwhile
            self._due = self._now() + min(self._longest, max(self._shortest, ttl))
            if roster.revision != after:
                return roster

    def _look_up(self) -> _Found:
        for record in self._records:
            found = self._ask(record)
            if found[0]:
                break
        return found

    def _ask(self, record: str) -> _Found:
        dns = need("dns.resolver", extra="dns", for_="DnsDiscovery")
        try:
            answer = self._resolver.resolve(self._host, record, raise_on_no_answer=False, search=False)
        except dns.NXDOMAIN:
            return [], self._shortest
        except Exception as error:  # the resolver's own, and what a socket raises
            raise DiscoveryError(
                self._name, f"no server answered with {record} ({type(error).__name__})"
            ) from None
        if answer.rrset is None:
            return [], self._shortest
        make = self._services if record == "SRV" else self._addresses
        return make(answer.rrset), float(answer.rrset.ttl)

    def _addresses(self, found: Iterable[Any]) -> list[Entry]:
        assert self._port is not None
        return [self._entry(str(each.address), self._port, 1.0, 0) for each in found]

    def _services(self, found: Iterable[Any]) -> list[Entry]:
        records = list(found)
        levels = sorted({each.priority for each in records})
        return [
            self._entry(
                each.target.to_text(omit_final_dot=True),
                each.port if self._port is None else self._port,
                float(each.weight or 1),  # all have 0 where nobody meant anything by it
                levels.index(each.priority),
            )
            for each in records
            if each.target.to_text() != "."  # the service is decidedly not there (RFC 2782)
        ]

    def _entry(self, address: str, port: int, weight: float, level: int) -> Entry:
        shown = f"[{address}]" if ":" in address else address
        meta = {**self._meta, "priority": str(level)} if level else self._meta
        return Entry(f"{shown}:{port}", address, port, meta, (), weight)

    def __repr__(self) -> str:
        return f"<DnsDiscovery {self._host!r} {'/'.join(self._records)}, {self._known!r}>"


def _resolver(nameservers: Iterable[str] | None, timeout: float) -> Any:
    dns = need("dns.resolver", extra="dns", for_="DnsDiscovery")
    try:
        resolver = dns.Resolver(configure=nameservers is None)
    except dns.NoResolverConfiguration:
        raise ConfigError("this system has none: say which", key="discovery.nameservers") from None
    resolver.lifetime = timeout
    resolver.timeout = timeout / 2  # so that a second server, or a second try, has its turn
    if nameservers is not None:
        servers = []
        for text in [nameservers] if isinstance(nameservers, str) else nameservers:
            address, colon, number = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
            if colon and not number.isdecimal():
                raise ConfigError(f"{text!r} is no address", key="discovery.nameservers")
            servers.append(_server(address, int(number) if colon else PORT, text))
        resolver.nameservers = servers
    return resolver


def _server(address: str, port: int, text: str) -> Any:
    servers = need("dns.nameserver", extra="dns", for_="DnsDiscovery")
    try:
        need("dns.inet", extra="dns", for_="DnsDiscovery").af_for_address(address)
    except ValueError:
        raise ConfigError(f"{text!r} is no address", key="discovery.nameservers") from None
    return servers.Do53Nameserver(address, port)
