"""Rosters in, events out: who stays keeps its history, who leaves finishes what it has."""

from __future__ import annotations

from threading import Event as Flag
from threading import Thread
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.errors import ConfigError, NoEndpointAvailable, PluginError
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.call import Outcome
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus, Load
from langchain_cluster.model.events import (
    BreakerChanged,
    EndpointCooling,
    EndpointJoined,
    EndpointLeft,
    EndpointUpdated,
    Event,
    StatusChanged,
)
from langchain_cluster.model.filters import EndpointFilter
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.pool.watched import Watched


def test_everybody_joins_a_new_pool_in_order() -> None:
    watched = Watched("a", "b")
    assert watched.events == [EndpointJoined(1000.0, Endpoint("a")), EndpointJoined(1000.0, Endpoint("b"))]
    assert [m.endpoint.id for m in watched.pool] == ["a", "b"]
    assert len(watched.pool) == 2
    assert [m.index for m in watched.pool.snapshot.members] == [0, 1]


def test_a_replaced_roster_tells_who_joined_changed_and_left() -> None:
    watched = Watched("a", "b", Endpoint("c", url="http://old"))
    watched.events.clear()
    told = watched.pool.replace(
        [Endpoint("d"), Endpoint("b", weight=3), Endpoint("c", url="http://new"), Endpoint("e")]
    )
    assert told == watched.events
    assert told == [
        EndpointJoined(1000.0, Endpoint("d")),
        EndpointUpdated(1000.0, Endpoint("b", weight=3), Endpoint("b")),
        EndpointLeft(1000.0, Endpoint("c", url="http://old")),
        EndpointJoined(1000.0, Endpoint("c", url="http://new")),
        EndpointJoined(1000.0, Endpoint("e")),
        EndpointLeft(1000.0, Endpoint("a")),
    ]


def test_the_same_roster_again_tells_nothing() -> None:
    watched = Watched("a", "b")
    watched.events.clear()
    members = watched.pool.snapshot.members
    assert watched.pool.replace([Endpoint("a"), Endpoint("b")]) == []
    assert watched.events == []
    assert watched.pool.snapshot.members == members


def test_survivors_keep_their_load_and_history() -> None:
    watched = Watched("a", "b")
    watched.call("a", Outcome.ok(seconds=2.0), times=3)
    watched.call("a", Outcome.failed(seconds=2.0), times=4)
    lease, member = watched.lease_on("a"), watched["a"]
    watched.pool.replace([Endpoint("a", weight=5, capacity=Capacity(max_connections=2)), Endpoint("z")])
    assert watched["a"] is member
    assert (member.served, member.failed, member.in_flight) == (3, 4, 1)
    assert member.ewma_seconds > 2.0  # the failures cost more than the answers took
    assert (member.weight, member.limit) == (5.0, 2)
    watched.call("a", Outcome.failed())
    assert member.breaker_state is BreakerState.OPEN  # the fifth in a row
    lease.settle(Outcome.ok())
    assert member.in_flight == 0


@pytest.mark.parametrize(
    "changed", [Endpoint("a", url="http://other"), Endpoint("a", object(), url="http://h")]
)
def test_a_changed_url_or_model_is_somebody_else(changed: Endpoint) -> None:
    watched = Watched(Endpoint("a", url="http://h"))
    watched.break_("a")
    before = watched["a"]
    watched.pool.replace([changed])
    after = watched["a"]
    assert after is not before
    assert (after.served, after.failed, after.ewma_seconds) == (0, 0, 0.0)
    assert after.breaker_state is BreakerState.CLOSED
    assert watched.asked() == {"a"}


def test_who_has_left_lives_until_its_last_call_is_over() -> None:
    watched = Watched("a", "b")
    lease, member = watched.lease_on("a"), watched["a"]
    watched.pool.remove("a")
    assert watched.pool.get("a") is None
    assert member.in_flight == 1
    assert watched.asked() == {"b"}
    lease.settle(Outcome.throttled(5.0))
    assert (member.in_flight, lease.settled) == (0, True)


def test_add_and_remove_change_one() -> None:
    watched = Watched("a")
    assert watched.pool.add(Endpoint("b")) == [EndpointJoined(1000.0, Endpoint("b"))]
    assert watched.pool.remove("a") == [EndpointLeft(1000.0, Endpoint("a"))]
    assert [m.endpoint.id for m in watched.pool] == ["b"]
    assert watched.told() == ["EndpointJoined", "EndpointJoined", "EndpointLeft"]


# -- bad input -------------------------------------------------------------------------------------


def test_two_endpoints_with_one_id_are_refused_and_nothing_changes() -> None:
    watched = Watched("a")
    for bad in (
        lambda: watched.pool.replace([Endpoint("b"), Endpoint("b", url="http://other")]),
        lambda: watched.pool.add(Endpoint("a")),
    ):
        with pytest.raises(ConfigError, match=r"endpoints\[1\].id: two endpoints have the id"):
            bad()
    assert [m.endpoint.id for m in watched.pool] == ["a"]
    with pytest.raises(ConfigError):
        Watched("a", "a")


@pytest.mark.parametrize("bad", ["a", None, {"id": "a"}, 5])
def test_what_is_no_endpoint_is_refused_with_its_place(bad: Any) -> None:
    with pytest.raises(ConfigError, match="is not an Endpoint") as caught:
        Pool([Endpoint("x"), bad], clock=FakeClock())
    assert caught.value.key == "endpoints[1]"


def test_an_unknown_id_is_told_the_nearest() -> None:
    watched = Watched("gpu-1", "cpu-7")
    pool = watched.pool
    for act in (
        pool.remove,
        pool.drain,
        pool.undrain,
        pool.force_open,
        pool.force_close,
        pool.reset,
        pool.disable_breaker,
        pool.heartbeat,
    ):
        with pytest.raises(ConfigError) as caught:
            act("gpu1")
        assert str(caught.value) == (
            "no endpoint 'gpu1' in the pool: expected one of gpu-1, cpu-7; did you mean 'gpu-1'?"
        )
    assert pool.get("gpu1") is None


def test_an_unknown_balancer_is_refused() -> None:
    with pytest.raises(PluginError, match="did you mean 'power_of_two'"):
        Watched("a", balancer="power_of_tow")


def test_nonsense_for_a_load_or_a_status_is_refused_and_changes_nothing() -> None:
    watched = Watched("a")
    with pytest.raises(ConfigError, match="is not a Load"):
        watched.pool.heartbeat("a", load={"cpu": 5})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="asleep"):
        watched.pool.set_status("a", "asleep")  # type: ignore[arg-type]
    assert watched["a"].load is None
    assert watched["a"].status is EndpointStatus.ONLINE


# -- one endpoint ----------------------------------------------------------------------------------


def test_a_heartbeat_brings_the_load_and_the_time() -> None:
    watched = Watched("a")
    assert watched["a"].registered_at == watched["a"].last_seen == 1000.0
    watched.clock.advance(5.0)
    watched.pool.heartbeat("a", load=Load(cpu_percent=40.0))
    watched.clock.advance(5.0)
    watched.pool.heartbeat("a")
    assert watched["a"].last_seen == 1010.0
    assert watched["a"].registered_at == 1000.0
    assert watched["a"].load == Load(cpu_percent=40.0)


def test_a_drained_endpoint_gets_nothing_new_and_finishes_what_it_has() -> None:
    watched = Watched("a", "b")
    watched.events.clear()
    lease = watched.lease_on("a")
    watched.pool.drain("a")
    assert watched["a"].status is EndpointStatus.DRAINING
    assert watched.asked() == {"b"}
    lease.settle(Outcome.ok(seconds=0.1))
    assert (watched["a"].in_flight, watched["a"].served) == (0, 1)
    watched.pool.undrain("a")
    assert watched.asked() == {"a", "b"}
    assert watched.events == [
        StatusChanged(1000.0, "a", EndpointStatus.DRAINING, EndpointStatus.ONLINE),
        StatusChanged(1000.0, "a", EndpointStatus.ONLINE, EndpointStatus.DRAINING),
    ]


def test_setting_the_status_it_has_tells_nothing() -> None:
    watched = Watched("a")
    watched.events.clear()
    watched.pool.set_status("a", EndpointStatus.ONLINE)
    watched.pool.set_status("a", "online")  # type: ignore[arg-type]
    assert watched.events == []


def test_a_survivor_keeps_its_status() -> None:
    watched = Watched("a", "b")
    watched.pool.drain("a")
    watched.pool.replace([Endpoint("a", weight=2), Endpoint("b")])
    assert watched["a"].status is EndpointStatus.DRAINING
    assert watched.asked() == {"b"}


def test_circuits_can_be_set_by_hand() -> None:
    watched = Watched("a", "b")
    watched.events.clear()
    watched.pool.force_open("a")
    assert watched.asked() == {"b"}
    watched.clock.advance(1e6)
    assert watched.asked() == {"b"}
    watched.pool.force_close("a")
    assert watched.asked() == {"a", "b"}
    watched.pool.disable_breaker("a")
    watched.call("a", Outcome.failed(), times=50)
    assert watched.asked() == {"a", "b"}
    watched.pool.reset("a")
    changes = [(e.before, e.state, e.reason) for e in watched.events if isinstance(e, BreakerChanged)]
    assert changes == [
        ("closed", "forced_open", "forced open"),
        ("forced_open", "closed", "forced closed"),
        ("closed", "disabled", "disabled"),
        ("disabled", "closed", "reset"),
    ]
    watched.break_("a")
    assert watched.asked() == {"b"}


def test_resetting_forgets_everything_held_against_an_endpoint() -> None:
    watched = Watched("a", "b")
    watched.call("a", Outcome.throttled(100.0))
    watched["a"].ejected_until = 2000.0
    watched.pool._publish(1000.0)
    watched.call("b", Outcome.failed(seconds=9.0))
    assert watched.asked() == {"b"}
    watched.pool.reset("a")
    assert watched.asked() == {"a", "b"}
    assert (watched["a"].cooling_until, watched["a"].ejected_until, watched["a"].ewma_seconds) == (0, 0, 0)


def test_without_a_breaker_nothing_ever_opens_unless_by_hand() -> None:
    watched = Watched("a", "b", breaker=None)
    assert watched.told() == ["EndpointJoined", "EndpointJoined"]
    watched.call("a", Outcome.failed(), times=100)
    watched.call("a", Outcome.misconfigured(), times=100)
    assert watched.asked() == {"a", "b"}
    watched.pool.force_open("a")
    assert watched.asked() == {"b"}
    for close in (watched.pool.reset, watched.pool.force_close):
        close("a")
        assert watched["a"].breaker_state is BreakerState.DISABLED
        watched.call("a", Outcome.failed(), times=100)
        assert watched.asked() == {"a", "b"}


def test_members_are_listed_by_condition() -> None:
    watched = Watched(Endpoint("a", zone="eu"), Endpoint("b", zone="us"), Endpoint("c", zone="eu"))
    watched.pool.drain("c")

    def ids(condition: Any = None) -> list[str]:
        return [m.endpoint.id for m in watched.pool.list(condition)]

    assert ids() == ["a", "b", "c"]
    assert ids(EndpointFilter(zone="eu")) == ["a", "c"]
    assert ids(EndpointFilter(zone="eu") & ~EndpointFilter(status="draining")) == ["a"]
    assert ids(EndpointFilter(seen_within=5)) == ["a", "b", "c"]
    watched.clock.advance(6)
    watched.pool.heartbeat("b")
    assert ids(EndpointFilter(seen_within=5)) == ["b"]
    watched.pool.force_open("a")
    assert ids(EndpointFilter(breaker_state="forced_open")) == ["a"]
    with pytest.raises(ConfigError, match=r"'gpu-\*' is not a condition, such as EndpointFilter"):
        ids("gpu-*")


def test_reprs_tell_the_state() -> None:
    watched = Watched("a", "b")
    watched.break_("a")
    watched.lease_on("b")
    assert repr(watched["a"]) == "<Member a online, circuit open, 0 in flight, 0 served, 5 failed>"
    assert repr(watched["b"]) == "<Member b online, circuit closed, 1 in flight, 0 served, 0 failed>"
    assert repr(watched.pool) == "<Pool 2 endpoints, 1 ready, RoundRobin()>"


def test_what_a_member_tells_of_its_circuit() -> None:
    watched = Watched("a")
    watched.break_("a")
    assert watched["a"].breaker_state is BreakerState.OPEN
    assert 1002.5 <= watched["a"].open_until <= 1005.0


# -- events ----------------------------------------------------------------------------------------


def test_events_come_in_the_order_things_happen() -> None:
    watched = Watched("a", "b")
    watched.break_("a")
    watched.clock.advance(5.0)
    watched.call("a")
    watched.call("b", Outcome.throttled(3.0))
    watched.pool.drain("b")
    watched.pool.remove("b")
    assert watched.told() == [
        "EndpointJoined",
        "EndpointJoined",
        "BreakerChanged",  # open
        "BreakerChanged",  # half open
        "BreakerChanged",  # closed
        "EndpointCooling",
        "StatusChanged",
        "EndpointLeft",
    ]


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda w: w.pool.replace([Endpoint("b"), Endpoint("z")]), EndpointJoined),
        (lambda w: w.pool.add(Endpoint("z")), EndpointJoined),
        (lambda w: w.pool.remove("a"), EndpointLeft),
        (lambda w: w.pool.drain("a"), StatusChanged),
        (lambda w: w.pool.force_open("a"), BreakerChanged),
        (lambda w: w.call("a", Outcome.throttled(1.0)), EndpointCooling),
    ],
)
def test_listeners_are_told_after_the_lock_is_released(act: Any, kind: type[Event]) -> None:
    """A listener that waits for another thread which uses the pool must not hang."""
    watched = Watched("a", "b")
    got_through = []

    def listen(event: Event) -> None:
        if not isinstance(event, kind):
            return
        flag = Flag()

        def use() -> None:
            watched.pool.set_status("b", EndpointStatus.ONLINE)
            flag.set()

        Thread(target=use, daemon=True).start()
        got_through.append(flag.wait(1.0))

    watched.pool._emit = listen
    act(watched)
    assert got_through
    assert all(got_through)


# -- a writer and many readers ----------------------------------------------------------------------


def test_a_writer_replaces_the_roster_a_thousand_times_while_eight_threads_call() -> None:
    stable = [Endpoint(f"s{i}") for i in range(3)]
    watched = Watched(*stable, balancer="peak_ewma")
    gone: set[str] = set()  # removed before now; ids are never used again
    errors: list[str] = []
    done = Flag()
    calls = [0] * 8

    def call(place: int) -> None:
        while not done.is_set():
            before = frozenset(gone)
            try:
                with watched.pool.acquire() as lease:
                    if lease.endpoint.id in before:
                        errors.append(f"{lease.endpoint.id} was removed before the pick began")
                    lease.settle(Outcome.ok(seconds=0.1))
                calls[place] += 1
            except Exception as error:
                errors.append(repr(error))

    threads = [Thread(target=call, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    survivors = [watched[e.id] for e in stable]
    for round in range(1000):
        guest = f"g{round}"
        watched.pool.replace([*stable, Endpoint(guest)])
        watched.pool.replace(stable)
        gone.add(guest)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [watched[e.id] for e in stable] == survivors
    assert [m.in_flight for m in watched.pool] == [0, 0, 0]
    assert all(calls)
    assert sum(m.served for m in watched.pool) <= sum(calls)


@pytest.mark.parametrize("breaker", [BreakerPolicy(), None])
def test_replacing_a_thousand_endpoints_costs_ten_times_what_a_hundred_cost(
    breaker: BreakerPolicy | None,
) -> None:
    """And not a hundred times: nobody looks at everybody for each of them. CPU time, not the wall's."""
    cost = {}
    for n in (100, 1000):
        pool = Pool([Endpoint(f"e{i}") for i in range(n)], clock=FakeClock(), breaker=breaker)
        took = []
        for round in range(3):
            endpoints = [Endpoint(f"{round}-{i}", weight=1 + i % 3, priority=i % 2) for i in range(n)]
            begin = thread_time()
            pool.replace(endpoints)
            took.append(thread_time() - begin)
        cost[n] = min(took)
    assert cost[1000] < 30 * cost[100]


ids = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)


@given(st.lists(st.tuples(ids, st.integers(1, 3)), max_size=8))
def test_events_add_up_to_the_roster(rosters: list[tuple[list[str], int]]) -> None:
    watched = Watched()
    there: dict[str, Endpoint] = {}
    for names, weight in rosters:
        watched.pool.replace([Endpoint(id, weight=weight) for id in names])
        for event in watched.events:
            match event:
                case EndpointJoined(_, endpoint):
                    assert endpoint.id not in there
                    there[endpoint.id] = endpoint
                case EndpointUpdated(_, endpoint, before):
                    assert there[endpoint.id] == before
                    there[endpoint.id] = endpoint
                case EndpointLeft(_, endpoint):
                    assert there.pop(endpoint.id) == endpoint
        watched.events.clear()
        assert {m.endpoint.id: m.endpoint for m in watched.pool} == there
        assert [m.endpoint.id for m in watched.pool] == names
        if not names:
            with pytest.raises(NoEndpointAvailable, match="the pool is empty"):
                watched.pool.acquire()
        else:
            assert watched.asked(20) == set(names)


def test_registering_takes_in_or_redescribes_and_deregistering_takes_out() -> None:
    watched = Watched("a")
    watched.events.clear()
    watched.clock.advance(5.0)
    assert watched.pool.register(Endpoint("b")) == [EndpointJoined(1005.0, Endpoint("b"))]
    lease = watched.lease_on("b")
    watched.clock.advance(5.0)
    assert watched.pool.register(Endpoint("b", weight=2.0)) == [
        EndpointUpdated(1010.0, Endpoint("b", weight=2.0), Endpoint("b"))
    ]
    assert (watched["b"].weight, watched["b"].in_flight, watched["b"].last_seen) == (2.0, 1, 1010.0)
    lease.settle(Outcome.ok())
    assert watched.pool.register(Endpoint("b", weight=2.0)) == []
    assert watched.pool.deregister("b") == [EndpointLeft(1010.0, Endpoint("b", weight=2.0))]
    assert watched.told() == ["EndpointJoined", "EndpointUpdated", "EndpointLeft"]
    assert [m.endpoint.id for m in watched.pool] == ["a"]


def test_registering_again_is_a_sign_of_life() -> None:
    watched = Watched("a")
    watched.clock.advance(30.0)
    watched.pool.register(Endpoint("a"))
    assert watched["a"].last_seen == 1030.0


def test_an_id_cannot_be_taken_over_by_registering_another_place() -> None:
    watched = Watched(Endpoint("a", url="http://one"))
    with pytest.raises(ConfigError, match="'a' belongs to another endpoint"):
        watched.pool.register(Endpoint("a", url="http://two"))
    assert watched["a"].endpoint.url == "http://one"
    with pytest.raises(ConfigError, match="not an Endpoint"):
        watched.pool.register("a")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no endpoint 'zz'"):
        watched.pool.deregister("zz")
