"""One word for all that is known of an endpoint, how it is taken back, and moving calls off the busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Attempt, Limits, Outcome, Request
from langchain_cluster.model.endpoint import Endpoint, EndpointState, EndpointStatus
from langchain_cluster.model.events import CallsMigrated
from langchain_cluster.pool.failover import over_their_part, soon_probed
from langchain_cluster.pool.members import Lease
from tests.pool.watched import Watched

CAUSES: dict[str, Callable[[Watched], object]] = {
    "up": lambda it: None,
    "busy": lambda it: it.pool.set_status("a", EndpointStatus.BUSY),
    "draining": lambda it: it.pool.drain("a"),
    "offline": lambda it: it.pool.set_status("a", EndpointStatus.OFFLINE),
    "forced_open": lambda it: it.pool.force_open("a"),
    "unhealthy": lambda it: it.pool.mark("a", healthy=False, reason="500"),
    "open": lambda it: it.break_("a"),
    "cooling": lambda it: it.call("a", Outcome.throttled(5.0)),
}


@pytest.mark.parametrize("state", CAUSES)
def test_each_state_has_its_cause_and_recovering_undoes_it(state: str) -> None:
    watched = Watched("a", "b")
    CAUSES[state](watched)
    assert watched.pool.state("a") is EndpointState(state)
    assert (watched.pool.state("a") in ("up", "busy")) is (watched["a"].why_not(1000.0) is None)
    assert watched.pool.state("b") is EndpointState.UP
    watched.pool.recover("a")
    assert watched.pool.state("a") is EndpointState.UP
    assert "a" in watched.asked()


def test_an_ejected_one_recovers_too() -> None:
    watched = Watched("a", "b")
    watched["a"].ejected_until = 1030.0
    assert watched.pool.state("a") is EndpointState.EJECTED
    watched.pool.recover("a")
    assert watched.pool.state("a") is EndpointState.UP


def test_a_circuit_whose_time_is_over_is_probing() -> None:
    watched = Watched("a", "b")
    watched.break_("a")
    watched.clock.advance(60.0)
    assert watched.pool.state("a") is EndpointState.PROBING


def test_who_joins_later_is_warming_and_weight_nothing_is_idle() -> None:
    watched = Watched("a", Endpoint("b", weight=0.0), slow_start=30.0)
    watched.pool.add(Endpoint("c"))
    assert [watched.pool.state(id).value for id in "abc"] == ["up", "idle", "warming"]
    watched.clock.advance(60.0)
    watched.asked()
    assert watched.pool.state("c") is EndpointState.UP


def test_an_unknown_endpoint_has_no_state() -> None:
    watched = Watched("a")
    for ask in (watched.pool.state, watched.pool.recover):
        with pytest.raises(ConfigError, match="no endpoint 'zz'"):
            ask("zz")


def held(watched: Watched, **calls: int) -> list[Lease]:
    return [watched.lease_on(id) for id, number in calls.items() for _ in range(number)]


def test_who_has_more_than_a_quarter_over_its_part() -> None:
    watched = Watched("a", "b", Endpoint("c", weight=2.0))
    leases = held(watched, a=8, b=1, c=3)  # parts of twelve: 3, 3 and 6; a quarter more: 4, 4 and 8
    assert [(m.endpoint.id, n) for m, n in over_their_part(watched.pool.snapshot.members)] == [("a", 4)]
    assert over_their_part(watched.pool.snapshot.members[:1]) == [], "there is nobody to compare with"
    for lease in leases:
        lease.settle(Outcome.ok())
    assert over_their_part(watched.pool.snapshot.members) == []


def test_rebalancing_calls_back_what_is_too_much_and_no_more() -> None:
    called_back: list[tuple[str, str, list[bool]]] = []

    def recall(endpoint: str, reason: str, may_move: Any) -> int:
        attempt = Attempt(1, Endpoint(endpoint), Request(), Limits())
        moved = [may_move(attempt, 1000.0) for _ in range(8)]
        called_back.append((endpoint, reason, moved))
        return sum(moved)

    watched = Watched("a", "b", recall=recall)
    held(watched, a=8)
    assert watched.pool.rebalance() == 3  # a's part of eight is four, and a quarter more is five
    assert called_back == [("a", "the pool is rebalanced", [True] * 3 + [False] * 5)]
    assert [(e.endpoint, e.calls) for e in watched.events if isinstance(e, CallsMigrated)] == [("a", 3)]


def test_a_pool_in_balance_moves_nothing() -> None:
    watched = Watched("a", "b", recall=lambda *given: pytest.fail("nothing is to be moved"))
    held(watched, a=5, b=5)
    assert watched.pool.rebalance() == 0
    assert Watched("a", "b").pool.rebalance() == 0


def opened(watched: Watched, id: str, times: int) -> None:
    """Let its circuit open so many times in a row."""
    watched.break_(id)
    for _ in range(times - 1):
        watched.clock.advance(max(0.0, watched[id].open_until - watched.clock.now()) + 0.01)
        with watched.pool.acquire() as lease:
            assert lease.endpoint.id == id, "its probe"
            lease.settle(Outcome.failed())


def test_a_primary_that_standbys_stand_in_for_is_probed_soon() -> None:
    watched = Watched(Endpoint("a", priority=0), Endpoint("b", priority=1))
    opened(watched, "a", 7)  # by itself it would wait 160 s at least
    assert watched["a"].open_until - watched.clock.now() == 20.0
    watched.clock.advance(20.0)
    with watched.pool.acquire() as lease:
        assert lease.endpoint.id == "a"


def test_a_peer_that_others_do_without_waits_its_time() -> None:
    watched = Watched("a", "b")
    opened(watched, "a", 7)
    assert watched["a"].open_until - watched.clock.now() >= 160.0


def test_a_standby_whose_primary_serves_waits_its_time() -> None:
    watched = Watched(Endpoint("a", priority=0), Endpoint("b", priority=1))
    opened(watched, "b", 7)
    assert watched["b"].open_until - watched.clock.now() >= 160.0


def test_who_has_nobody_to_stand_in_waits_his_time() -> None:
    watched = Watched("a")
    opened(watched, "a", 7)
    assert watched["a"].open_until - watched.clock.now() >= 160.0


def test_a_primary_that_was_drained_is_not_probed_for_its_standbys() -> None:
    watched = Watched(Endpoint("a", priority=0), Endpoint("b", priority=1))
    watched.pool.drain("a")
    now, members = watched.clock.now(), watched.pool.snapshot.members
    assert watched["a"].breaker.trip(200.0, now, "told")
    assert not soon_probed(members, (), now)
    assert watched["a"].open_until == now + 200.0
    watched.pool.undrain("a")
    assert soon_probed(watched.pool.snapshot.members, (), now)
    assert watched["a"].open_until == now + 20.0
