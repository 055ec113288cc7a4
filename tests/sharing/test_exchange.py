"""What a cluster tells others, what it does not, and that nothing goes round in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from langchain_cluster import (
    BreakerPolicy,
    Cluster,
    ClusteredLLM,
    ConfigError,
    Endpoint,
    Outcome,
    OutlierPolicy,
)
from langchain_cluster.model.events import BreakerChanged, SharingLost, SharingRestored
from langchain_cluster.model.hearsay import Hearsay, Said, place_of
from langchain_cluster.sharing import LocalSharing
from langchain_cluster.testing import FakeClock, ScriptedModel

FAILED = Outcome.failed(error=ConnectionError("refused"), seconds=0.1)


class Noted(LocalSharing):
    """Keeps what is said."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.said: list[tuple[Said, str]] = []
        self.lost: list[Callable[[str], None]] = []
        self.restored: list[Callable[[], None]] = []

    def join(self, hear: Any, *, lost: Any, restored: Any) -> Any:
        self.lost.append(lost)
        self.restored.append(restored)
        return super().join(hear, lost=lost, restored=restored)

    def _pass_on(self, said: Hearsay, channel: Any) -> None:
        self.said.append((said.said, said.endpoint))
        super()._pass_on(said, channel)


class Fleet:
    """So many clusters with the same endpoints."""

    def __init__(self, size: int, stack: ExitStack) -> None:
        self.sharing, self.clock = Noted(), FakeClock()
        self.clusters = [stack.enter_context(self.cluster()) for _ in range(size)]

    def cluster(self, names: str = "abcd", **settings: Any) -> Cluster:
        settings = {"breaker": BreakerPolicy(consecutive_failures=1), "outlier": OutlierPolicy()} | settings
        endpoints = [Endpoint(name, ScriptedModel("hello"), quota_group=name.upper()) for name in names]
        return Cluster(endpoints, sharing=self.sharing, clock=self.clock, seed=1, **settings)

    def call(self, number: int, id: str, outcome: Outcome) -> None:
        pool = self.clusters[number].pool
        pool.acquire(exclude=[m.endpoint.id for m in pool if m.endpoint.id != id]).settle(outcome)

    def states(self, id: str) -> list[str]:
        return [state_of(cluster, id) for cluster in self.clusters]


def state_of(cluster: Cluster, id: str) -> str:
    member = cluster.pool.get(id)
    assert member is not None
    return member.breaker_state.value


@pytest.fixture
def three() -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(3, stack)


def test_what_one_sees_the_others_hear_and_say_no_more(three: Fleet) -> None:
    three.call(0, "a", FAILED)
    assert three.states("a") == ["open"] * 3
    assert three.sharing.said == [(Said.OPEN, "a")]
    three.clock.advance(10.0)
    three.call(1, "a", Outcome.ok(seconds=0.1))
    assert three.states("a") == ["open", "closed", "open"]
    assert three.sharing.said == [(Said.OPEN, "a"), (Said.CLOSED, "a")]
    three.call(2, "a", Outcome.ok(seconds=0.1))
    assert three.states("a") == ["open", "closed", "closed"]


def test_what_a_probe_of_ours_finds_is_our_own_and_is_told(three: Fleet) -> None:
    three.call(0, "a", FAILED)
    three.clock.advance(10.0)
    three.call(2, "a", FAILED)
    assert three.sharing.said == [(Said.OPEN, "a"), (Said.OPEN, "a")]


def test_a_cooling_down_and_an_ejection_are_told(three: Fleet) -> None:
    three.call(0, "a", Outcome.throttled(retry_after=9.0))
    pool, now = three.clusters[1].pool, three.clock.now()
    pool._eject(pool.snapshot.by_id["b"], now + 8.0, "slow", now)
    assert three.sharing.said == [(Said.COOLING, "a"), (Said.EJECTED, "b")]
    for cluster in three.clusters:
        first, second = cluster.pool.get("a"), cluster.pool.get("b")
        assert first is not None
        assert second is not None
        assert first.cooling_until == three.clock.now() + 9.0
        assert second.ejected_until == three.clock.now() + 8.0


def test_what_is_one_process_s_own_is_not_told(three: Fleet) -> None:
    pool = three.clusters[0].pool
    three.call(0, "a", Outcome.misconfigured())
    pool.force_open("b")
    pool.force_close("b")
    pool.drain("c")
    pool.disable_breaker("d")
    three.call(0, "d", Outcome.throttled(retry_after=0.0))
    assert three.sharing.said == []
    assert three.states("a") == ["open", "closed", "closed"]
    three.clock.advance(10.0)
    three.call(0, "a", Outcome.misconfigured())
    assert three.sharing.said == [], "not by its probe either"


def test_nothing_is_told_before_the_start_and_after_the_end() -> None:
    with ExitStack() as stack:
        fleet = Fleet(1, stack)
        later = fleet.cluster()
        fleet.call(0, "a", FAILED)
        assert state_of(later, "a") == "closed"
        with later:
            fleet.call(0, "b", FAILED)
            assert state_of(later, "b") == "open"
        fleet.call(0, "c", FAILED)
        assert state_of(later, "c") == "closed"
        assert repr(fleet.sharing) == "<LocalSharing, 1 take part>"
        with later:
            fleet.call(0, "d", FAILED)
            assert state_of(later, "d") == "open", "it opens again after it was closed"


def test_the_first_call_takes_part() -> None:
    sharing = Noted()
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hello"))], sharing=sharing)
    assert repr(sharing) == "<LocalSharing, 0 take part>"
    llm.invoke("hello")
    assert repr(sharing) == "<LocalSharing, 1 take part>"
    llm.cluster.close()
    assert repr(sharing) == "<LocalSharing, 0 take part>"


async def test_the_same_in_coroutines() -> None:
    sharing = Noted()
    async with Cluster([Endpoint("a", ScriptedModel("hello"))], sharing=sharing) as cluster:
        assert repr(sharing) == "<LocalSharing, 1 take part>"
        await cluster.aclose()
        assert repr(sharing) == "<LocalSharing, 0 take part>"


def test_what_is_heard_of_an_endpoint_that_joins_later_is_kept_as_long_as_it_holds(three: Fleet) -> None:
    cluster, exchange = three.clusters[0], three.clusters[0]._exchange
    assert exchange is not None
    place = place_of(Endpoint("new"))
    exchange.hear(Hearsay(Said.OPEN, "new", place, 5.0, "peer"))
    exchange.hear(Hearsay(Said.OPEN, "gone", place, 1.0, "peer"))
    exchange.hear(Hearsay(Said.OPEN, "back", place, 9.0, "peer"))
    exchange.hear(Hearsay(Said.CLOSED, "back", place, 0.0, "peer"))
    three.clock.advance(2.0)
    for id in ("new", "gone", "back"):
        cluster.pool.add(Endpoint(id, ScriptedModel("hello")))
    assert [state_of(cluster, id) for id in ("new", "gone", "back")] == ["open", "closed", "closed"]
    for number in range(1000):
        exchange.hear(Hearsay(Said.OPEN, f"none-{number}", place, 9.0, "peer"))
    assert len(exchange._early) == 256


def test_an_outage_is_told_once() -> None:
    sharing = Noted()
    told: list[Any] = []
    cluster = Cluster([Endpoint("a", ScriptedModel("hello"))], sharing=sharing, clock=FakeClock())
    cluster.events.subscribe(told.append)
    with cluster:
        (lost,), (restored,) = sharing.lost, sharing.restored
        lost("refused")
        lost("refused again")
        assert "cut off" in repr(cluster._exchange)
        cluster.clock.advance(3.0)  # type: ignore[attr-defined]
        restored()
        restored()
    at = cluster.clock.now()
    assert told == [SharingLost(at - 3.0, "refused"), SharingRestored(at, 3.0)]


def test_hearsay_can_be_told_apart(three: Fleet) -> None:
    told: list[Any] = []
    three.clusters[1].events.subscribe(told.append)
    three.call(0, "a", FAILED)
    assert [(e.endpoint, e.state, e.hearsay) for e in told if isinstance(e, BreakerChanged)] == [
        ("a", "open", True)
    ]


@pytest.mark.parametrize("max_percent", [-1, 101, True, "50", float("nan")])
def test_what_is_no_percentage_is_refused(max_percent: Any) -> None:
    with pytest.raises(ConfigError, match="is not a percentage"):
        LocalSharing(max_percent=max_percent)


def test_what_is_no_sharing_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no Sharing"):
        Cluster([Endpoint("a", ScriptedModel("hello"))], sharing="redis")  # type: ignore[arg-type]
