"""DNS keeps the contract, against a real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

pytest.importorskip("dns")


from langchain_cluster.discovery import DnsDiscovery
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.endpoint import Roster
from langchain_cluster.testing import FakeClock
from langchain_cluster.testing.name_server import NameServer
from tests.contracts.discovery import WatchedContract

NAME, SERVICE = "llm.default.svc.cluster.local", "_http._tcp.llm.default.svc.cluster.local"
TTL = 5


class ByPod(DnsDiscovery):
    """Ids as the contract names them: the first label of a pod's name."""

    def fetch(self, after: int | None = None) -> Roster:
        return _by_pod(super().fetch(after))

    async def afetch(self, after: int | None = None) -> Roster:
        return _by_pod(await super().afetch(after))


def _by_pod(roster: Roster) -> Roster:
    return replace(
        roster, endpoints=tuple(replace(each, id=each.id.partition(".")[0]) for each in roster.endpoints)
    )


class Records:
    """SRV records of pods whose names are ids. Whatever happens to them, they expire at once."""

    wait = 30.0

    def __init__(self, server: NameServer) -> None:
        self._server, self._clock, self._waits = server, FakeClock(), Event()
        self.source = ByPod(
            SERVICE, nameservers=[server.address], wait=self.wait, timeout=5.0, now=self._clock.now,
            pause=self._pause,
        )  # fmt: skip

    def _pause(self, stop: Event, seconds: float) -> None:
        self._waits.set()
        stop.wait(0.002)  # until somebody moves the clock

    def put(self, endpoints: Mapping[str, float]) -> None:
        texts = [f"0 {weight:.0f} 8000 {id}.{NAME}." for id, weight in endpoints.items()]
        self._server.table = {(SERVICE, "SRV"): (TTL, texts)}
        self._expire()

    def until_waited_for(self) -> None:
        self._waits.clear()
        assert self._waits.wait(20)

    def elapse(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def down(self) -> None:
        self._server.refuses = True
        self._expire()

    def up(self) -> None:
        self._server.refuses = False

    def _expire(self) -> None:
        self._clock.advance(TTL)


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


class TestDnsDiscovery(WatchedContract):
    @pytest.fixture
    def registry(self, server: NameServer) -> Records:
        return Records(server)


def source(server: NameServer, host: str = NAME, port: int | None = 8000, **options: Any) -> DnsDiscovery:
    return DnsDiscovery(host, port, nameservers=[server.address], timeout=5.0, **options)


def test_every_address_of_a_headless_service_is_an_endpoint(server: NameServer) -> None:
    server.table[NAME, "A"] = (30, ["10.1.0.2", "10.1.0.1"])
    roster = source(server, path="/v1", metadata={"model": "llama-3"}).fetch()
    assert [endpoint.id for endpoint in roster.endpoints] == ["10.1.0.1:8000", "10.1.0.2:8000"]
    assert roster.endpoints[0].url == "http://10.1.0.1:8000/v1"
    assert roster.endpoints[0].metadata["model"] == "llama-3"


def test_a_pod_that_has_both_kinds_of_address_is_one_endpoint(server: NameServer) -> None:
    server.table |= {(NAME, "A"): (30, ["10.1.0.1"]), (NAME, "AAAA"): (30, ["fd00::1"])}
    assert [endpoint.id for endpoint in source(server).fetch().endpoints] == ["10.1.0.1:8000"]
    assert ("AAAA" in {record for _, record in server.asked}) is False


def test_where_there_is_no_other_address_it_is_ipv6(server: NameServer) -> None:
    server.table[NAME, "AAAA"] = (30, ["fd00::1"])
    (endpoint,) = source(server).fetch().endpoints
    assert (endpoint.id, endpoint.url) == ("[fd00::1]:8000", "http://[fd00::1]:8000")


def test_srv_records_say_port_weight_and_level(server: NameServer) -> None:
    server.table[SERVICE, "SRV"] = (
        30,
        ["20 0 8002 c.example.", "10 5 8000 a.example.", "10 1 8001 b.example."],
    )
    told = {
        each.id: (each.url, each.weight, each.priority)
        for each in source(server, SERVICE, None, scheme="https").fetch().endpoints
    }
    assert told == {
        "a.example:8000": ("https://a.example:8000", 5.0, 0),
        "b.example:8001": ("https://b.example:8001", 1.0, 0),
        "c.example:8002": ("https://c.example:8002", 1.0, 1),
    }


def test_a_service_that_is_decidedly_not_there_has_nobody(server: NameServer) -> None:
    server.table[SERVICE, "SRV"] = (30, ["0 0 0 ."])
    assert source(server, SERVICE, None).fetch() == Roster((), 1)


def test_a_name_that_does_not_exist_has_nobody(server: NameServer) -> None:
    assert source(server).fetch().endpoints == ()


def test_a_name_that_resolves_to_a_metadata_service_is_left_out(server: NameServer) -> None:
    server.table[NAME, "A"] = (30, ["169.254.169.254", "10.1.0.1"])
    roster = source(server).fetch()
    assert [endpoint.id for endpoint in roster.endpoints] == ["10.1.0.1:8000"]
    assert [each.id for each in roster.rejected] == ["169.254.169.254:8000"]


def test_a_server_that_refuses_is_an_error(server: NameServer) -> None:
    server.refuses = True
    with pytest.raises(DiscoveryError, match="no server answered with A"):
        source(server).fetch()


@pytest.mark.parametrize(("ttl", "used"), [(0, 1.0), (7, 7.0), (9999, 300.0)])
def test_an_answer_is_used_until_it_expires_within_bounds(server: NameServer, ttl: int, used: float) -> None:
    clock = FakeClock()
    waited: list[float] = []

    def pause(stop: Event, seconds: float) -> None:
        waited.append(seconds)
        clock.advance(seconds)

    server.table[NAME, "A"] = (ttl, ["10.1.0.1"])
    each = source(server, now=clock.now, pause=pause, wait=1000.0)
    first = each.fetch()
    server.table[NAME, "A"] = (ttl, ["10.1.0.2"])
    second = each.fetch(first.revision)
    assert waited == [used]
    assert [endpoint.id for endpoint in second.endpoints] == ["10.1.0.2:8000"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"host": ""}, "discovery.host: it has no address"),
        ({"host": "a", "port": 70000}, "discovery.port: its port '70000' is not in 1-65535"),
        ({"host": "a", "record": "MX"}, "unknown record 'MX': expected one of A, AAAA, SRV"),
        ({"host": "a", "record": "A"}, "discovery.port: is missing: only SRV records say it"),
        ({"host": "a", "min_ttl": 0}, "discovery.min_ttl: 0 is not a number > 0"),
        ({"host": "a", "nameservers": ["dns.example"]}, "discovery.nameservers: 'dns.example' is no address"),
        ({"host": "a", "nameservers": "10.0.0.1:x"}, "discovery.nameservers: '10.0.0.1:x' is no address"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        DnsDiscovery(**arguments)


def test_a_repr_tells_what_is_asked_for(server: NameServer) -> None:
    assert repr(source(server)) == f"<DnsDiscovery '{NAME}' A/AAAA, nothing known yet>"
