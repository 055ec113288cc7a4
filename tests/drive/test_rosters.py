"""What a running cluster makes of its sources: stability, precedence, kept rosters, outages, forks."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import pytest

from langchain_cluster import (
    Cluster,
    ClusteredLLM,
    Endpoint,
    EndpointFactory,
    Roster,
    StabilityPolicy,
    StaticDiscovery,
)
from langchain_cluster.drive.rosters import Rosters
from langchain_cluster.errors import ConfigError, DeadlineExceeded, DiscoveryError, NoEndpointAvailable
from langchain_cluster.model.events import (
    DiscoveryFailed,
    DiscoveryRecovered,
    EndpointJoined,
    EndpointLeft,
    EndpointRejected,
    RosterHeld,
    RosterReleased,
    RosterRestored,
)
from langchain_cluster.testing import FakeClock, ScriptedModel

LONG = 20.0  # seconds until a test that hangs has failed


def endpoint(id: str) -> Endpoint:
    return Endpoint(id, ScriptedModel(f"from {id}"))


class Registry:
    """Says what a test puts in: a list of endpoints, or an error; the last again when asked anew."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._last: Any = None
        self._revision = 0
        self.waits = Event()

    def says(self, *endpoints: Endpoint) -> None:
        self._inbox.put(endpoints)

    def fails(self, error: Exception) -> None:
        self._inbox.put(error)

    def fetch(self, after: int | None) -> Roster:
        if after is None and self._last is not None and self._inbox.empty():
            return Roster(self._last, self._revision)
        self.waits.set()
        said = self._inbox.get()
        self.waits.clear()
        if isinstance(said, Exception):
            raise said
        self._last, self._revision = said, self._revision + 1
        return Roster(said, self._revision)

    async def afetch(self, after: int | None) -> Roster:
        raise NotImplementedError

    def close(self) -> None:
        self._inbox.put(DiscoveryError("Registry", "it was closed"))


class Heard:
    """The events of a cluster, and a way to wait for them."""

    def __init__(self, cluster: Cluster) -> None:
        self.events: list[Any] = []
        self._bell = Event()
        cluster.events.subscribe(self._hear)

    def _hear(self, event: Any) -> None:
        self.events.append(event)
        self._bell.set()

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def until(self, met: Callable[[], bool]) -> None:
        while not met():
            assert self._bell.wait(LONG), self.events
            self._bell.clear()


def ids(cluster: Cluster) -> list[str]:
    return sorted(member.endpoint.id for member in cluster.pool)


QUICK = StabilityPolicy(sweep=0.001)


def test_an_empty_answer_changes_nothing_until_it_is_confirmed() -> None:
    registry = Registry()
    cluster = Cluster(discovery=registry, stability=StabilityPolicy(confirm_empty=3, sweep=0.001))
    heard = Heard(cluster)
    with cluster:
        registry.says(endpoint("a"))
        assert cluster.wait_ready(LONG)
        registry.says()
        heard.until(lambda: not ids(cluster))
    held, left, released = heard.of(RosterHeld, EndpointLeft, RosterReleased)
    assert (held.source, held.endpoints, held.reason) == (
        "Registry 0", ("a",), "the source names nobody, and that is not confirmed",
    )  # fmt: skip
    assert left.endpoint.id == "a"
    assert released.endpoints == ("a",)


def test_half_of_the_pool_leaves_sweep_by_sweep() -> None:
    registry = Registry()
    cluster = Cluster(discovery=registry, stability=QUICK)
    heard, sizes = Heard(cluster), list[int]()
    everybody = [endpoint(f"e{n:03d}") for n in range(100)]
    with cluster:
        registry.says(*everybody)
        assert cluster.wait_ready(LONG)
        replace = cluster.pool.replace
        cluster.pool.replace = lambda wanted: (sizes.append(len(wanted)), replace(wanted))[1]  # type: ignore[assignment, func-returns-value, arg-type]
        registry.says(*everybody[:50])
        heard.until(lambda: len(cluster.pool) == 50)
    assert sizes == [85, 73, 63, 54, 50]


def test_who_was_drained_on_purpose_leaves_at_once() -> None:
    registry = Registry()
    cluster = Cluster(discovery=registry, stability=StabilityPolicy(sweep=3600.0))
    heard = Heard(cluster)
    everybody = [endpoint(f"e{n}") for n in range(9)]
    with cluster:
        registry.says(*everybody)
        assert cluster.wait_ready(LONG)
        for n in range(8):
            cluster.pool.drain(f"e{n}")
        registry.says(everybody[8])
        heard.until(lambda: ids(cluster) == ["e8"])
    assert not heard.of(RosterHeld)


def test_everything_is_believed_where_nobody_asks_for_stability() -> None:
    registry = Registry()
    cluster = Cluster(discovery=registry, stability=None)
    heard = Heard(cluster)
    with cluster:
        registry.says(*(endpoint(f"e{n}") for n in range(9)))
        assert cluster.wait_ready(LONG)
        registry.says()
        heard.until(lambda: not ids(cluster))
    assert not heard.of(RosterHeld)


def test_what_a_program_writes_down_is_taken_when_update_returns() -> None:
    source = StaticDiscovery([endpoint(f"e{n}") for n in range(20)])
    with Cluster(discovery=source) as cluster:
        source.update([endpoint("new")])
        assert ids(cluster) == ["new"]
        source.update([])
        assert ids(cluster) == []
        with pytest.raises(ConfigError, match=r"endpoints\[0\]: str is not an Endpoint"):
            source.update(["no endpoint"])  # type: ignore[list-item]
    source.update([endpoint("later")])
    assert ids(cluster) == [], "a closed cluster is told nothing"


def test_the_first_source_that_names_an_id_has_it() -> None:
    low, high = StaticDiscovery([]), StaticDiscovery([])
    a, b, c = (Endpoint("x", ScriptedModel(), weight=weight) for weight in (1.0, 2.0, 3.0))

    def weight() -> float | None:
        member = cluster.pool.get("x")
        return None if member is None else member.endpoint.weight

    with Cluster([endpoint("fixed")], discovery=[high, low]) as cluster:
        low.update([a])
        assert weight() == 1.0
        high.update([b])
        assert weight() == 2.0
        low.update([c])
        assert weight() == 2.0
        high.update([])
        assert weight() == 3.0
        low.update([Endpoint("fixed", ScriptedModel(), weight=9.0)])
        assert [member.endpoint.weight for member in cluster.pool] == [1.0], "those given outright win"


def test_two_of_one_id_are_told_and_the_first_is_taken() -> None:
    source = StaticDiscovery([])
    cluster = Cluster(discovery=source)
    heard = Heard(cluster)
    with cluster:
        source.update([endpoint("a"), endpoint("a"), endpoint("b")])
        assert ids(cluster) == ["a", "b"]
    assert [(each.endpoint, each.reason) for each in heard.of(EndpointRejected)] == [
        ("a", "another one has its id")
    ]


def test_an_address_nobody_may_call_is_left_out_without_a_factory_too() -> None:
    bad = Endpoint("bad", url="http://169.254.169.254/latest")
    with Cluster(discovery=StaticDiscovery([bad, Endpoint("good", url="http://10.0.0.1")])) as cluster:
        assert ids(cluster) == ["good"]


# -- outages --------------------------------------------------------------------------------------------


def test_an_outage_is_told_once_with_how_old_the_roster_is() -> None:
    registry, clock = Registry(), FakeClock()
    cluster = Cluster(discovery=registry, clock=clock)
    heard = Heard(cluster)
    with cluster:
        registry.fails(OSError("http://user:password@registry"))
        heard.until(lambda: bool(heard.of(DiscoveryFailed)))
        registry.says(endpoint("a"))
        heard.until(lambda: bool(heard.of(DiscoveryRecovered)))
        clock.advance(60.0)
        for _ in range(3):
            registry.fails(DiscoveryError("Registry", "no leader"))
        heard.until(lambda: len(heard.of(DiscoveryFailed)) == 2)
        clock.advance(5.0)
        registry.says(endpoint("a"), endpoint("b"))
        heard.until(lambda: len(heard.of(DiscoveryRecovered)) == 2)
        assert ids(cluster) == ["a", "b"]
    first, back, second, again = heard.of(DiscoveryFailed, DiscoveryRecovered)
    assert (first.source, first.error, first.stale_seconds) == ("Registry 0", "OSError", None)
    assert (back.source, back.seconds) == ("Registry 0", 0.0)
    assert (second.error, second.stale_seconds) == ("Registry: no leader", 60.0)
    assert again.seconds == 5.0


def test_routing_goes_on_while_the_registry_is_away() -> None:
    registry = Registry()
    llm = ClusteredLLM(discovery=registry, balancer="round_robin")
    registry.says(endpoint("a"), endpoint("b"))
    assert llm.cluster.wait_ready(LONG)
    for _ in range(5):
        registry.fails(OSError("away"))
    answers = [llm.invoke("hello").content for _ in range(20)]
    assert (answers.count("from a"), answers.count("from b")) == (10, 10)
    llm.cluster.close()


def test_a_pause_after_a_failure_is_ended_by_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_cluster.plan.watch.FULL_JITTER", lambda state: 3600.0)
    monkeypatch.setattr("langchain_cluster.plan.watch.watch.__defaults__", (lambda state: 3600.0,))
    registry = Registry()
    cluster = Cluster(discovery=registry)
    heard = Heard(cluster)
    cluster.start()
    registry.fails(OSError())
    heard.until(lambda: bool(heard.of(DiscoveryFailed)))
    closing = Thread(target=cluster.close)
    closing.start()
    closing.join(LONG)
    assert not closing.is_alive()


# -- the first roster -----------------------------------------------------------------------------------


async def test_a_first_call_waits_no_longer_than_it_has(colour: str) -> None:
    registry = Registry()
    llm = ClusteredLLM(discovery=registry, timeout=0.05)
    calls = []
    if colour == "sync":
        with pytest.raises((NoEndpointAvailable, DeadlineExceeded)):
            llm.invoke("hello")
    else:  # more of them than a loop has threads
        calls = [asyncio.create_task(llm.ainvoke("hello")) for _ in range(100)]
        done, late = await asyncio.wait(calls, timeout=LONG)
        assert not late
        assert all(isinstance(each.exception(), NoEndpointAvailable | DeadlineExceeded) for each in done)
    registry.says()
    await llm.cluster.aclose()


def test_a_source_that_is_read_once_does_not_hold_up_the_start() -> None:
    class Once(Registry):
        watched = False

    once = Once()
    with Cluster(discovery=once) as cluster:
        assert not cluster.wait_ready(0.001)
        once.fails(OSError())
        once.says(endpoint("a"))
        assert cluster.wait_ready(LONG)
        assert ids(cluster) == ["a"]


def remote(id: str) -> Endpoint:
    return Endpoint(id, url="http://10.0.0.1:8000/v1", metadata={"model": id})


@pytest.mark.parametrize("trouble", ["fails", "hangs"])
async def test_a_cold_start_makes_do_with_the_roster_that_was_kept(
    tmp_path: Path, trouble: str, colour: str
) -> None:
    stability = StabilityPolicy(keep=tmp_path / "roster", patience=0.01, sweep=0.001)
    before = Registry()
    before.says(remote("a"), remote("b"))
    with Cluster(discovery=before, stability=stability, factory=EndpointFactory()) as cluster:
        assert cluster.wait_ready(LONG)
    away = Registry()
    if trouble == "fails":
        away.fails(OSError("away"))
    cluster = Cluster(discovery=away, stability=stability, factory=EndpointFactory())
    heard = Heard(cluster)
    ready = cluster.wait_ready(LONG) if colour == "sync" else await cluster.await_ready(LONG)
    assert ready
    assert ids(cluster) == ["a", "b"]
    assert repr(cluster.pool.get("a").endpoint.model) == "<Deferred openai:a, not made yet>"  # type: ignore[union-attr]
    (restored,) = heard.of(RosterRestored)
    assert (restored.source, restored.endpoints) == ("Registry 0", 2)
    away.says(remote("b"), remote("c"))
    heard.until(lambda: ids(cluster) == ["b", "c"])
    await cluster.aclose()


def test_a_kept_roster_that_was_changed_is_not_used_and_told(tmp_path: Path) -> None:
    (tmp_path / "roster").write_text("sha256:0\n{}")
    stability = StabilityPolicy(keep=tmp_path / "roster", patience=0.01)
    registry = Registry()
    cluster = Cluster(discovery=registry, stability=stability)
    heard = Heard(cluster)
    with cluster:
        assert not cluster.wait_ready(0.05)
        registry.says(remote("a"))
        heard.until(lambda: bool(heard.of(DiscoveryRecovered)))
    assert "its checksum is wrong" in heard.of(DiscoveryFailed)[0].error
    assert ids(cluster) == ["a"]


# -- many -----------------------------------------------------------------------------------------------


def test_two_hundred_come_and_go_under_load_and_the_pool_is_what_the_source_says() -> None:
    rng = random.Random(11)
    models = {f"e{n:03d}": ScriptedModel(f"from {n}") for n in range(200)}
    here: dict[str, Endpoint] = {"stays": endpoint("stays")}
    source = StaticDiscovery(here.values())
    llm = ClusteredLLM(discovery=source)
    heard, stop, failures, calls = Heard(llm.cluster), Event(), list[Exception](), [0]
    llm.cluster.start()

    def call() -> None:
        while not stop.is_set():
            try:
                llm.invoke("hello")
                calls[0] += 1
            except Exception as error:
                failures.append(error)

    callers = [Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    changes = [*models, *models]  # once in, and half of them out again
    rng.shuffle(changes)
    expected: list[tuple[type, str]] = [(EndpointJoined, "stays")]
    for id in changes[:300]:
        if id in here:
            del here[id]
            expected.append((EndpointLeft, id))
        else:
            here[id] = Endpoint(id, models[id])
            expected.append((EndpointJoined, id))
        source.update(here.values())
        assert set(ids(llm.cluster)) == set(here)
    stop.set()
    for caller in callers:
        caller.join(LONG)
    assert failures == []
    assert calls[0] > 0
    told = [(type(event), event.endpoint.id) for event in heard.of(EndpointJoined, EndpointLeft)]
    assert told == expected
    assert all(member.in_flight == 0 for member in llm.cluster.pool)
    llm.cluster.close()


def test_an_update_makes_only_what_is_new() -> None:
    """Two hundred stay, one joins: one model is made, not two hundred and one."""
    made: list[str] = []

    class Counting(EndpointFactory):
        def attach(self, endpoint: Endpoint) -> Any:
            made.append(endpoint.id)
            return super().attach(endpoint)

    everybody = [remote(f"e{n}") for n in range(200)]
    source = StaticDiscovery(everybody)
    with Cluster(discovery=source, factory=Counting()) as cluster:
        made.clear()
        before = {member.endpoint.id: member for member in cluster.pool}
        source.update([*map(remote, before), remote("new")])
        assert made == ["new"]
        assert all(cluster.pool.get(id) is member for id, member in before.items())


# -- a fork ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_of_a_fork_follows_on_threads_of_its_own() -> None:
    class Changing(Registry):
        """Says something else in a child."""

        def fetch(self, after: int | None) -> Roster:
            if os.getpid() != parent:
                self._inbox = SimpleQueue() if after else self._inbox
                return Roster((endpoint("child"),), 99) if after is None else Registry.fetch(self, after)
            return super().fetch(after)

    parent, registry = os.getpid(), Changing()
    registry.says(endpoint("parent"))
    llm = ClusteredLLM(discovery=registry, stability=None)
    assert llm.invoke("hello").content == "from parent"
    assert registry.waits.wait(LONG)
    child = os.fork()
    if child == 0:
        try:
            llm.invoke("hello")  # begins anew
            alive = Event()
            for _ in range(2000):
                if ids(llm.cluster) == ["child"]:
                    os._exit(0)
                alive.wait(0.005)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert llm.invoke("hello").content == "from parent"
    llm.cluster.close()


def test_a_repr_tells_what_is_believed() -> None:
    cluster = Cluster([endpoint("a")])
    rosters = Rosters([], ["x"], [True], cluster.pool, cluster.clock, print, None, None, None)
    assert repr(rosters) == "<Rosters x: 0>"


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)
