"""What is announced is discovered again, as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("consul")

from langchain_cluster import Capacity, Endpoint, Load, Price, Role
from langchain_cluster.discovery import ConsulRegistrar, EtcdRegistrar
from langchain_cluster.discovery.describe import entry_of
from langchain_cluster.discovery.entry import endpoint_of
from langchain_cluster.errors import ConfigError, DiscoveryError
from tests.discovery.fake_consul import FakeConsul
from tests.discovery.fake_etcd import PREFIX, FakeEtcd

ME = Endpoint(
    "me",
    url="https://gpu-1.internal:8443/v1",
    weight=2.25,
    zone="a",
    tier="big",
    roles=frozenset({Role.LLM, Role.EMBEDDING}),
    tags=frozenset({"gpu", "fast"}),
    metadata={"model": "llama"},
    capacity=Capacity(max_connections=4, max_memory_mb=1.5),
    price=Price(0.5, 1.5, 0.1),
    priority=1,
    quota_group="q",
    identity="i",
    context_window=4096,
    capabilities=frozenset({"tools"}),
)


@pytest.fixture
def consul() -> Iterator[FakeConsul]:
    with FakeConsul() as consul:
        yield consul


@pytest.fixture
def etcd() -> Iterator[FakeEtcd]:
    with FakeEtcd() as etcd:
        yield etcd


@pytest.mark.parametrize(
    "endpoint", [ME, Endpoint("plain", url="http://10.0.0.1:80"), Endpoint("six", url="http://[::1]:80")]
)
def test_an_endpoint_survives_the_way_through_a_registry(endpoint: Endpoint) -> None:
    made = endpoint_of(entry_of(endpoint))
    assert isinstance(made, Endpoint)
    for name in Endpoint.__dataclass_fields__:
        if name != "metadata":
            assert getattr(made, name) == getattr(endpoint, name), name
    assert set(endpoint.metadata.items()) <= set(made.metadata.items())
    assert entry_of(made) == entry_of(made)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "no url"),
        ("http://u:canary@10.0.0.1", "user or a password"),
        ("http://10.0.0.1:99999", "1-65535"),
        ("ftp://10.0.0.1:21", "http"),
        ("http://169.254.169.254", "link-local"),
    ],
)
def test_what_nobody_would_accept_is_not_announced(url: str | None, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as told:
        entry_of(Endpoint("me", url=url))
    assert "canary" not in str(told.value)


async def run(colour: str, registrar: Any, method: str, *arguments: Any) -> None:
    if colour == "sync":
        getattr(registrar, method)(*arguments)
    else:
        await getattr(registrar, "a" + method)(*arguments)


async def test_consul_is_told_where_and_how_and_with_which_check(consul: FakeConsul, colour: str) -> None:
    registrar = ConsulRegistrar("gpu", consul.url, ttl=10, deregister_after=90)
    await run(colour, registrar, "register", ME)
    told = consul.registered["me"]
    assert (told["name"], told["address"], told["port"]) == ("gpu", "gpu-1.internal", 8443)
    assert told["tags"] == ["fast", "gpu"]
    assert told["meta"]["weight"] == "2.25"
    check = {"status": "passing", "ttl": "10s", "DeregisterCriticalServiceAfter": "90s"}
    assert check in (told.get("check"), *told.get("checks", []))
    await run(colour, registrar, "heartbeat", "me", Load(connections=3))
    assert consul.notes["me"] == '{"load":{"connections":3}}'
    await run(colour, registrar, "deregister", "me")
    assert not consul.registered
    await run(colour, registrar, "deregister", "me")  # it is not there: fine
    assert "0 registered" in repr(registrar)


@pytest.mark.parametrize("http", [None, "/health"])
async def test_an_agent_that_forgot_an_endpoint_is_told_again(
    consul: FakeConsul, colour: str, http: str | None
) -> None:
    registrar = ConsulRegistrar("gpu", consul.url, http=http)
    await run(colour, registrar, "register", ME)
    consul.registered.clear()
    await run(colour, registrar, "heartbeat", "me")
    assert "me" in consul.registered


def test_an_agent_may_ask_the_endpoint_itself(consul: FakeConsul) -> None:
    ConsulRegistrar("gpu", consul.url, http="/health", interval=2, deregister_after=None).register(ME)
    told = consul.registered["me"]
    (check,) = told.get("checks") or [told["check"]]
    assert check["http"] == "https://gpu-1.internal:8443/health"
    assert check["interval"] == "2s"
    assert "DeregisterCriticalServiceAfter" not in check


@pytest.mark.parametrize("metadata", [{"a b": "c"}, {"a": "x" * 513}, {f"k{n}": "v" for n in range(65)}])
def test_what_consul_does_not_keep_is_told_by_name(consul: FakeConsul, metadata: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Consul"):
        ConsulRegistrar("gpu", consul.url).register(Endpoint("me", url="http://h:1", metadata=metadata))
    assert not consul.asked


def test_consul_refusing_is_an_error(consul: FakeConsul) -> None:
    registrar = ConsulRegistrar("gpu", consul.url)
    with pytest.raises(ConfigError, match="not registered here"):
        registrar.heartbeat("me")
    consul.refuse = (403, "Permission denied")
    with pytest.raises(DiscoveryError, match="Permission denied"):
        registrar.register(ME)
    with pytest.raises(DiscoveryError, match="Permission denied"):
        registrar.deregister("me")
    consul.refuse = (404, "what?")
    with pytest.raises(DiscoveryError, match="is it Consul"):
        registrar.register(ME)
    consul.refuse = None
    registrar.register(ME)
    consul.refuse = (403, "Permission denied")
    with pytest.raises(DiscoveryError):
        registrar.heartbeat("me")
    registrar.close()


async def test_etcd_keeps_an_endpoint_under_a_lease(etcd: FakeEtcd, colour: str) -> None:
    registrar = EtcdRegistrar(PREFIX, etcd.url)
    await run(colour, registrar, "register", ME)
    (found,) = etcd.source.fetch(None).endpoints
    assert (found.weight, found.url, found.tags) == (ME.weight, ME.url, ME.tags)
    await run(colour, registrar, "heartbeat", "me", Load(connections=3))
    assert etcd.source.fetch(None).loads["me"].connections == 3
    before = etcd.revision
    await run(colour, registrar, "heartbeat", "me", Load(connections=3))
    assert etcd.revision == before  # nothing new to be told to everybody
    await run(colour, registrar, "deregister", "me")
    assert not etcd.keys
    assert not etcd.leases
    await run(colour, registrar, "deregister", "me")
    assert "0 registered" in repr(registrar)


async def test_a_lease_that_expired_is_asked_for_again(etcd: FakeEtcd, colour: str) -> None:
    registrar = EtcdRegistrar(PREFIX, etcd.url)
    await run(colour, registrar, "register", ME)
    etcd.expire(next(iter(etcd.leases)))
    assert not etcd.keys
    await run(colour, registrar, "heartbeat", "me", Load(queued=1))
    assert list(etcd.keys) == [PREFIX + "me"]
    assert etcd.source.fetch(None).loads["me"].queued == 1
    etcd.expire(next(iter(etcd.leases)))
    await run(colour, registrar, "deregister", "me")


def test_a_new_description_is_under_the_same_lease(etcd: FakeEtcd) -> None:
    registrar = EtcdRegistrar(PREFIX, etcd.url)
    registrar.register(ME)
    registrar.register(Endpoint("me", url="http://10.0.0.2:80"))
    assert len(etcd.leases) == 1
    (found,) = etcd.source.fetch(None).endpoints
    assert found.url == "http://10.0.0.2:80"


def test_etcd_refusing_is_an_error(etcd: FakeEtcd) -> None:
    registrar = EtcdRegistrar(PREFIX, etcd.url)
    with pytest.raises(ConfigError, match="not registered here"):
        registrar.heartbeat("me")
    etcd.refuse = (403, '{"error": "etcdserver: permission denied", "code": 7}')
    with pytest.raises(DiscoveryError, match="permission denied"):
        registrar.register(ME)
    etcd.refuse = (200, '{"header": {}}')
    with pytest.raises(DiscoveryError, match="no lease"):
        registrar.register(ME)
    registrar.close()


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (ConsulRegistrar, {"service": ""}),
        (ConsulRegistrar, {"service": "a", "ttl": 0}),
        (ConsulRegistrar, {"service": "a", "deregister_after": 5}),
        (EtcdRegistrar, {"prefix": ""}),
        (EtcdRegistrar, {"prefix": "a", "ttl": 0}),
        (EtcdRegistrar, {"prefix": "a", "timeout": 0}),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_is_told_at_once(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        kind(**arguments)
