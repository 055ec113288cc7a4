"""What somebody may write to a registry to get at a credential, or at everybody else's endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("consul")
pytest.importorskip("langchain_openai")

from langchain_cluster import ClusteredLLM, EndpointFactory
from langchain_cluster.model.events import EndpointRejected
from langchain_cluster.testing import SimulatedServer
from tests.contracts.discovery import Fetching
from tests.discovery.fake_consul import FakeConsul, instance
from tests.discovery.fake_etcd import PREFIX, FakeEtcd

Fake = FakeConsul | FakeEtcd
SECRET = "sk-very-secret"
BIG = "x" * 10_000_000

# id -> (what its entry says beside the others' words, a word of the reason)
UNBELIEVED: dict[str, tuple[dict[str, Any], str]] = {
    "metadata": ({"address": "169.254.169.254"}, "link-local"),
    "metadata-ipv6": ({"address": "fd00:ec2::254"}, "metadata service"),
    "metadata-number": ({"address": "2852039166"}, "unusual spelling"),
    "metadata-name": ({"address": "metadata.google.internal"}, "metadata service"),
    "metadata-url": ({"url": "http://169.254.169.254/latest"}, "link-local"),
    "file": ({"url": "file:///etc/passwd"}, "not http:// or https://"),
    "scheme": ({"scheme": "file"}, "not http:// or https://"),
    "userinfo": ({"url": "http://user:canary@127.0.0.1/v1"}, "a user or a password"),
    "userinfo-address": ({"address": "user:canary@127.0.0.1"}, "a user or a password"),
    "megabytes": ({"note": BIG}, "larger than 64 KiB"),
    "control": ({"note": "a\x1b[2Jb"}, "control characters"),
    "control-address": ({"address": "127.0.0.1\r\nX: y"}, "control characters"),
    "port-0": ({"port": 0}, "not in 1-65535"),
    "port-70000": ({"port": 70000}, "not in 1-65535"),
    "digits": ({"context_window": "9" * 400}, "is not an integer"),
    "more-digits": ({"max_rpm": "9" * 5000}, "is not an integer"),
}
FOREIGN = {"foreign": ({"address": "localhost"}, "not among those that are allowed")}


@pytest.fixture(params=[FakeConsul, FakeEtcd])
def registry(request: pytest.FixtureRequest) -> Iterator[Fake]:
    with request.param() as fake:
        yield fake


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(record_secrets=True) as server:
        yield server


def write(registry: Fake, said: dict[str, dict[str, Any]]) -> None:
    """`said` as that registry keeps it."""
    if isinstance(registry, FakeEtcd):
        registry.set({PREFIX + id: json.dumps(value).encode() for id, value in said.items()})
        return
    instances = []
    for id, value in said.items():
        meta = {name: text for name, text in value.items() if name not in ("address", "port")}
        instances.append(instance(id, Address=value["address"], Port=value["port"], Meta=meta))
    registry.set(instances)


def entries(port: int, bad: dict[str, tuple[dict[str, Any], str]]) -> dict[str, dict[str, Any]]:
    good = {"address": "127.0.0.1", "port": port, "path": "/v1", "model": "m"}
    return {"a-good": good, **{id: {**good, **said} for id, (said, _) in bad.items()}, "z-good": good}


def test_each_is_left_out_with_a_reason_and_the_others_stay(registry: Fake, colour: str) -> None:
    write(registry, entries(8000, UNBELIEVED))
    roster = Fetching(registry.source, None, colour).roster()
    assert [endpoint.id for endpoint in roster.endpoints] == ["a-good", "z-good"]
    reasons = {rejected.id: rejected.reason for rejected in roster.rejected}
    assert set(reasons) == set(UNBELIEVED)
    for id, (_, word) in UNBELIEVED.items():
        assert word in reasons[id], id
    assert "canary" not in repr(roster.rejected)


async def test_none_gets_a_credential_and_each_leaves_an_event(
    registry: Fake, server: SimulatedServer, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_KEY", SECRET)
    bad = UNBELIEVED | FOREIGN
    with SimulatedServer(port=0, record_secrets=True) as stranger:
        said = entries(server.port, bad)
        said["foreign"]["port"] = stranger.port
        write(registry, said)
        factory = EndpointFactory("openai:{model}", None, "GPU_KEY", ["127.0.0.0/8"])
        llm = ClusteredLLM(discovery=registry.source, factory=factory, balancer="round_robin")
        events: list[Any] = []
        llm.cluster.events.subscribe(events.append)
        for _ in range(4):
            answer = llm.invoke("hello") if colour == "sync" else await llm.ainvoke("hello")
            assert "hello" in answer.text
        told = {event.endpoint: event.reason for event in events if isinstance(event, EndpointRejected)}
        assert set(told) == set(bad)
        assert [member.endpoint.id for member in llm.cluster.pool] == ["a-good", "z-good"]
        await llm.cluster.aclose()
        assert len(stranger.log) == 0
        assert len(server.log) == 4
    for text in (repr(events), repr(llm.cluster.pool), repr(factory), str(llm.cluster.stats())):
        assert SECRET not in text
        assert "canary" not in text


def test_of_two_with_one_id_the_first_stays(colour: str) -> None:
    with FakeConsul() as consul:
        consul.set([instance("a"), instance("a", Address="10.0.0.66"), instance("b")])
        roster = Fetching(consul.source, None, colour).roster()
    assert [(each.id, each.url) for each in roster.endpoints] == [
        ("a", "http://10.0.0.1:8000"),
        ("b", "http://10.0.0.1:8000"),
    ]
    assert [each.reason for each in roster.rejected] == ["another one has its id"]
