"""A real registry that is away: from a moment after a cluster's start on, or from before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("consul")
pytest.importorskip("langchain_openai")

from langchain_cluster import ClusteredLLM, Endpoint, EndpointFactory, StabilityPolicy
from langchain_cluster.discovery import ConsulDiscovery, ConsulRegistrar, EtcdDiscovery, EtcdRegistrar
from langchain_cluster.model.events import DiscoveryFailed, DiscoveryRecovered, RosterRestored
from langchain_cluster.testing import SimulatedServer
from tests.services.registry_servers import Consul, Etcd, Folder

pytestmark = pytest.mark.services
NAMES = ("g1", "g2", "g3")


@pytest.fixture
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


def endpoint(server: SimulatedServer, id: str, weight: float = 1.0) -> Endpoint:
    return Endpoint(id, url=server.openai_url(id), weight=weight)


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("kind", [Consul, Etcd])
async def test_calls_go_on_and_a_cold_start_answers(folder: Folder, kind: Any, tmp_path: Path) -> None:
    registry = kind(folder, "away").start().wait_ready()
    read: Any = ConsulDiscovery if kind is Consul else EtcdDiscovery
    registrar: Any = (ConsulRegistrar if kind is Consul else EtcdRegistrar)("llm", registry.url, ttl=600)
    keeps = StabilityPolicy(keep=tmp_path / "roster", patience=0.5)

    def cluster() -> tuple[ClusteredLLM, list[Any]]:
        made = ClusteredLLM(
            discovery=read("llm", registry.url, wait=1.0),
            factory=EndpointFactory("openai:m", allow=["127.0.0.0/8"]),
            stability=keeps,
            balancer="round_robin",
            timeout=10.0,
        )
        events: list[Any] = []
        made.cluster.events.subscribe(events.append)
        return made, events

    async def who(llm: ClusteredLLM) -> list[str]:
        blocking = [llm.invoke("hello") for _ in range(6)]
        awaited = [await llm.ainvoke("hello") for _ in range(6)]
        return [answer.response_metadata["cluster"]["endpoint"] for answer in blocking + awaited]

    with SimulatedServer() as server:
        for id in NAMES:
            registrar.register(endpoint(server, id))
        llm, events = cluster()
        assert await who(llm) == [*NAMES] * 4
        registry.kill()
        until(lambda: any(isinstance(event, DiscoveryFailed) for event in events))
        assert await who(llm) == [*NAMES] * 4
        await llm.cluster.aclose()

        llm, events = cluster()  # a cold start, with nobody to ask
        assert await who(llm) == [*NAMES] * 4
        (restored,) = (event for event in events if isinstance(event, RosterRestored))
        assert restored.endpoints == 3

        registry.start().wait_ready()
        registrar.register(endpoint(server, "g1", 5.0))
        until(lambda: llm.cluster.pool.get("g1").endpoint.weight == 5.0)  # type: ignore[union-attr]
        until(lambda: any(isinstance(event, DiscoveryRecovered) for event in events))
        assert sorted(member.endpoint.id for member in llm.cluster.pool) == [*NAMES]
        await llm.cluster.aclose()
