"""EtcdDiscovery against a fake server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from langchain_cluster.discovery import EtcdDiscovery
from langchain_cluster.errors import ConfigError, DiscoveryError
from tests.contracts.discovery import Fetching, WatchedContract, weights
from tests.discovery.fake_etcd import PREFIX, FakeEtcd


@pytest.fixture
def etcd() -> Iterator[FakeEtcd]:
    with FakeEtcd() as etcd:
        yield etcd


class TestEtcdDiscovery(WatchedContract):
    @pytest.fixture
    def registry(self, etcd: FakeEtcd) -> FakeEtcd:
        return etcd


def test_a_compaction_ends_in_a_listing(etcd: FakeEtcd, colour: str) -> None:
    etcd.put({"a": 1.0})
    first = Fetching(etcd.source, None, colour).roster()
    etcd.put({"a": 2.0})
    etcd.compacted = etcd.revision
    assert weights(Fetching(etcd.source, first.revision, colour).roster()) == {"a": 2.0}


def test_keys_of_others_are_not_read(etcd: FakeEtcd) -> None:
    value = json.dumps({"address": "10.0.0.1", "port": 1}).encode()
    etcd.set({"/llm/a": value, "/llm0": value, "/lll": value, "/llm": value})
    assert [endpoint.id for endpoint in etcd.source.fetch(None).endpoints] == ["a"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\x00", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "no address"),
        (b'{"address": 7, "port": 1}', "not all texts"),
        (b'{"address": "10.0.0.1", "port": "80"}', "not in 1-65535"),
        (b'{"address": "10.0.0.1", "port": 80, "tags": 3}', "tags are not a list"),
        (b'{"address": "10.0.0.1", "port": 80, "weight": -1}', "weight '-1' is not a number"),
        (b'{"address": "10.0.0.1", "port": 80, "x": "' + b"y" * 10_000_000 + b'"}', "larger than 64 KiB"),
    ],
)
def test_a_bad_value_costs_that_endpoint_alone(etcd: FakeEtcd, value: bytes, reason: str) -> None:
    etcd.set({f"{PREFIX}bad": value, f"{PREFIX}good": b'{"address": "10.0.0.1", "port": 80}'})
    roster = etcd.source.fetch(None)
    assert weights(roster) == {"good": 1.0}
    (rejected,) = roster.rejected
    assert rejected.id == "bad"
    assert reason in rejected.reason


def test_everything_a_value_can_say(etcd: FakeEtcd) -> None:
    told = {
        "address": "10.0.0.1",
        "port": 8000,
        "path": "/v1",
        "weight": 2.5,
        "zone": "a",
        "tier": "big",
        "roles": ["llm", "embedding"],
        "tags": ["gpu"],
        "model": "llama",
        "capacity": {"max_connections": 8},
        "price": {"input": 1.5, "output": 3},
        "metadata": {"rack": "7"},
        "load": {"connections": 3},
    }
    etcd.set({PREFIX + "a": json.dumps(told).encode()})
    roster = etcd.source.fetch(None)
    (endpoint,) = roster.endpoints
    assert endpoint.url == "http://10.0.0.1:8000/v1"
    assert (endpoint.weight, endpoint.zone, endpoint.tier) == (2.5, "a", "big")
    assert {role.value for role in endpoint.roles} == {"llm", "embedding"}
    assert endpoint.tags == {"gpu"}
    assert endpoint.capacity.max_connections == 8
    assert endpoint.price is not None
    assert (endpoint.price.input, endpoint.price.output) == (1.5, 3.0)
    assert endpoint.metadata["rack"] == "7"
    assert endpoint.metadata["model"] == "llama"
    assert roster.loads["a"].connections == 3


def source(etcd: FakeEtcd) -> EtcdDiscovery:
    return EtcdDiscovery(PREFIX, etcd.url, user_env="ETCD_USER", password_env="ETCD_PASSWORD")


def test_a_token_is_asked_for_once_and_anew_when_it_is_old(
    etcd: FakeEtcd, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_USER", "reader")
    monkeypatch.setenv("ETCD_PASSWORD", "canary")
    etcd.password = "canary"
    etcd.put({"a": 1.0})
    reader = source(etcd)
    first = Fetching(reader, None, colour).roster()
    Fetching(reader, None, colour).roster()
    assert [request.path for request in etcd.asked].count("/v3/auth/authenticate") == 1
    etcd.token = "second"
    etcd.put({"a": 2.0})
    assert weights(Fetching(reader, first.revision, colour).roster()) == {"a": 2.0}
    assert [request.path for request in etcd.asked].count("/v3/auth/authenticate") == 2


def test_a_wrong_password_is_told_without_it(etcd: FakeEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_USER", "reader")
    monkeypatch.setenv("ETCD_PASSWORD", "canary")
    etcd.password = "another"
    with pytest.raises(DiscoveryError, match="user or password is refused") as told:
        source(etcd).fetch(None)
    assert "canary" not in str(told.value) + repr(source(etcd))
    monkeypatch.delenv("ETCD_PASSWORD")
    with pytest.raises(DiscoveryError, match="variable of its password is not set"):
        source(etcd).fetch(None)


def test_another_server_is_asked_when_one_does_not_answer(etcd: FakeEtcd, colour: str) -> None:
    with FakeEtcd() as other:
        other.put({"b": 1.0})
        etcd.down()
        both = EtcdDiscovery(PREFIX, [etcd.url, other.url])
        assert weights(Fetching(both, None, colour).roster()) == {"b": 1.0}


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefix": ""},
        {"prefix": "/a", "wait": 0},
        {"prefix": "/a", "timeout": -1},
        {"prefix": "/a", "endpoints": []},
        {"prefix": "/a", "endpoints": "ftp://x"},
        {"prefix": "/a", "endpoints": "http://a:b@x"},
        {"prefix": "/a", "endpoints": "http://x:99999"},
        {"prefix": "/a", "endpoints": 7},
        {"prefix": "/a", "mapping": {"wieght": "w"}},
        {"prefix": "/a", "mapping": {"weight": ""}},
        {"prefix": "/a", "password_env": "A", "password_file": "b"},
        {"prefix": "/a", "ca": "/nowhere"},
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_is_told_at_once(arguments: dict[str, object]) -> None:
    with pytest.raises((ConfigError, TypeError)):
        EtcdDiscovery(**arguments)  # type: ignore[arg-type]
