"""Health checks of a running cluster, over real sockets and in real time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from langchain_cluster import Cluster, ClusteredLLM, ConfigError, Endpoint, StaticDiscovery
from langchain_cluster.health import Health, HealthPolicy, HttpCheck, ModelCheck
from langchain_cluster.model.events import HealthChanged
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from langchain_cluster.testing.server_process import ServerProcess

FAST = HealthPolicy(interval=0.1)


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


def endpoints(server: SimulatedServer, count: int = 3) -> list[Endpoint]:
    return [
        Endpoint(f"gpu-{n}", ScriptedModel("hi"), url=server.openai_url(f"gpu-{n}")) for n in range(count)
    ]


def wait(condition: Callable[[], Any], within: float = 2.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"not within {within} s"
        time.sleep(0.002)
    return time.monotonic() - began


def ours(before: set[threading.Thread]) -> list[str]:
    return [
        t.name for t in threading.enumerate() if t not in before and t.name.startswith("langchain-cluster")
    ]


def test_a_dead_process_is_out_by_health_check_alone_and_comes_back(server: SimulatedServer) -> None:
    with ServerProcess("langchain_cluster.testing.simulated") as process:
        one = Endpoint("one", ScriptedModel("1"), url=process.openai_url)
        two = Endpoint("two", ScriptedModel("2"), url=server.openai_url("two"))
        with Cluster([one, two], health=FAST) as cluster:
            time.sleep(0.3)
            process.kill()
            took = wait(lambda: not cluster.pool.get("one").healthy)
            assert took < FAST.fall * FAST.interval + 0.5
            assert [m.endpoint.id for m in cluster.pool.snapshot.ready] == ["two"]
            process.start().wait_ready()
            wait(lambda: cluster.pool.get("one").healthy)
            assert cluster.stats()["attempts"] == 0  # nobody called


def test_what_changes_is_told(server: SimulatedServer) -> None:
    events: list[Any] = []
    cluster = Cluster(endpoints(server), health=FAST)
    cluster.events.subscribe(events.append)
    with cluster:
        server.fail(faults.Status(503), "gpu-1", on="probes")
        wait(lambda: events)
        server.heal()
        wait(lambda: len(events) == 2)
    told = [(e.endpoint, e.healthy, e.reason) for e in events if isinstance(e, HealthChanged)]
    assert told == [("gpu-1", False, "/health answered 503"), ("gpu-1", True, "/health answered 200")]
    assert server.count() == 0


def test_all_failing_at_once_fails_open(server: SimulatedServer) -> None:
    cluster = Cluster(endpoints(server), health=FAST)
    llm = ClusteredLLM(cluster=cluster)
    with cluster:
        server.fail(faults.Status(503), on="probes")
        wait(lambda: not any(member.healthy for member in cluster.pool))
        for _ in range(6):
            assert llm.invoke("hello").text == "hi"


def test_nothing_begins_before_the_first_call_and_nothing_is_left_after_close(
    server: SimulatedServer,
) -> None:
    before = set(threading.enumerate())
    llm = ClusteredLLM(cluster=Cluster(endpoints(server), health=FAST))
    time.sleep(0.15)
    assert ours(before) == []
    assert server.probes() == []
    llm.invoke("hello")
    wait(lambda: len(server.probes()) >= 6)
    llm.cluster.close()
    wait(lambda: ours(before) == [])
    assert server.wait_until(lambda: server.connections == 0)
    asked = len(server.probes())
    time.sleep(0.25)
    assert len(server.probes()) == asked


async def test_the_same_awaited(server: SimulatedServer) -> None:
    before = set(threading.enumerate())
    llm = ClusteredLLM(cluster=Cluster(endpoints(server), health=FAST))
    assert ours(before) == []
    await llm.ainvoke("hello")
    await asyncio.to_thread(wait, lambda: len(server.probes()) >= 6)
    await llm.cluster.aclose()
    await asyncio.to_thread(wait, lambda: ours(before) == [])
    assert await asyncio.to_thread(server.wait_until, lambda: server.connections == 0)
    async with Cluster(endpoints(server), health=FAST) as cluster:
        server.fail(faults.Status(500), "gpu-0", on="probes")
        await asyncio.to_thread(wait, lambda: not cluster.pool.get("gpu-0").healthy)
    await asyncio.to_thread(wait, lambda: ours(before) == [])


def test_it_can_be_started_again(server: SimulatedServer) -> None:
    cluster = Cluster(endpoints(server), health=FAST)
    for _ in range(2):
        server.clear_log()
        with cluster:
            wait(lambda: len(server.probes()) >= 3)


def test_hanging_checks_do_not_delay_the_others_and_close_is_soon(server: SimulatedServer) -> None:
    before = set(threading.enumerate())
    server.fail(faults.Hang(), "gpu-0", on="probes")
    cluster = Cluster(
        endpoints(server), health=HealthPolicy(check=HttpCheck(timeout=0.5), interval=0.1, concurrency=2)
    )
    with cluster:
        wait(lambda: not cluster.pool.get("gpu-0").healthy)
        assert cluster.pool.get("gpu-1").healthy
        assert len(server.probes("gpu-1")) >= 4
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    wait(lambda: ours(before) == [])
    assert server.wait_until(lambda: server.connections == 0)


def test_a_check_of_ones_own_may_raise_and_is_closed() -> None:
    class Own:
        closed = False

        def check(self, endpoint: Endpoint) -> Health:
            if endpoint.id == "b":
                raise RuntimeError("no such page")
            return Health(True, "fine")

        async def acheck(self, endpoint: Endpoint) -> Health:
            return self.check(endpoint)

        def close(self) -> None:
            self.closed = True

    own, events = Own(), []
    policy = HealthPolicy(check=own, interval=0.05)
    cluster = Cluster([Endpoint(id, ScriptedModel("hi")) for id in "abc"], health=policy)
    cluster.events.subscribe(events.append)
    with cluster:
        wait(lambda: not cluster.pool.get("b").healthy)
        assert cluster.pool.get("a").healthy
        wait(lambda: events)
    assert events[0].reason == "RuntimeError: no such page"
    assert own.closed


def test_who_leaves_is_not_checked_and_who_comes_is(server: SimulatedServer) -> None:
    cluster = Cluster(endpoints(server), health=HealthPolicy(interval=0.1))
    with cluster:
        wait(lambda: server.probes("gpu-0"))
        joined = Endpoint("new", ScriptedModel("hi"), url=server.openai_url("new"))
        cluster.pool.replace([*endpoints(server)[1:], joined])
        took = wait(lambda: server.probes("new"))
        assert took < 1.0
        asked = len(server.probes("gpu-0"))
        time.sleep(0.3)
        assert len(server.probes("gpu-0")) == asked


def test_beside_a_discovery(server: SimulatedServer) -> None:
    with Cluster(discovery=StaticDiscovery(endpoints(server)), health=FAST) as cluster:
        wait(lambda: len(server.probes()) >= 3)
        assert cluster.wait_ready(1.0)


def test_a_model_check_sees_a_model_that_is_broken_behind_a_healthy_page() -> None:
    good, broken = (
        Endpoint("good", ScriptedModel("hi")),
        Endpoint("broken", ScriptedModel(ValueError("no weights"))),
    )
    policy = HealthPolicy(check=ModelCheck(every=0.01), interval=0.05)
    with Cluster([good, broken], health=policy) as cluster:
        wait(lambda: not cluster.pool.get("broken").healthy)
        assert cluster.pool.get("good").healthy
        assert cluster.stats()["calls"] == 0


def test_what_is_no_health_check_is_told_at_once(server: SimulatedServer) -> None:
    with pytest.raises(ConfigError, match="no HealthCheck"):
        Cluster(endpoints(server), health=3.0)  # type: ignore[arg-type]
    assert Cluster(endpoints(server)).health is None
    assert repr(Cluster(endpoints(server), health="tcp").health).startswith("<Periodic TcpCheck")
