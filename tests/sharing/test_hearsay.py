"""A hint comes in, and the pool does what it should with it; time is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster import (
    BreakerPolicy,
    Endpoint,
    EndpointStatus,
    NoEndpointAvailable,
    Outcome,
    OutlierPolicy,
    Pool,
    Request,
    Role,
)
from langchain_cluster.model.events import (
    BreakerChanged,
    EndpointCooling,
    EndpointEjected,
    EndpointReturned,
    Event,
)
from langchain_cluster.model.hearsay import LONGEST, Hearsay, Said, place_of
from langchain_cluster.pool.hearsay import DOUBT, SPREAD
from langchain_cluster.testing import FakeClock

NOWHERE = place_of(Endpoint("any"))
FAILED = Outcome.failed(error=ConnectionError("refused"), seconds=0.1)


class Watched:
    """A pool of so many, and what was told of it."""

    def __init__(self, names: str | Sequence[Endpoint] = "abcd", **settings: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        defaults: dict[str, Any] = {"outlier": OutlierPolicy(), "balancer": "round_robin", "seed": 1}
        settings = defaults | settings
        endpoints = [Endpoint(name) for name in names] if isinstance(names, str) else names
        self.pool = Pool(endpoints, clock=self.clock, emit=self._emit, **settings)

    def _emit(self, event: Event) -> None:
        if isinstance(event, BreakerChanged | EndpointCooling | EndpointEjected | EndpointReturned):
            self.events.append(event)

    def hear(self, said: Said, id: str, seconds: float = 4.0, **more: Any) -> bool:
        bound = {"max_percent": more.pop("max_percent")} if "max_percent" in more else {}
        more = {"sender": "peer"} | more
        return self.pool.hear(Hearsay(said, id, more.pop("place", NOWHERE), seconds, **more), **bound)

    def state(self, id: str) -> str:
        member = self.pool.get(id)
        assert member is not None
        return member.breaker_state.value

    def asked(self, times: int = 20) -> set[str]:
        leases = []
        for _ in range(times):
            leases.append(self.pool.acquire())
        for lease in leases:
            lease.settle(Outcome.abandoned())
        return {lease.endpoint.id for lease in leases}

    def call(self, id: str, outcome: Outcome, times: int = 1) -> None:
        others = [m.endpoint.id for m in self.pool if m.endpoint.id != id]
        for _ in range(times):
            self.pool.acquire(exclude=others).settle(outcome)


def test_an_open_circuit_elsewhere_opens_ours_for_what_is_left_and_a_probe_of_ours_decides() -> None:
    watched = Watched()
    assert watched.hear(Said.OPEN, "a", 4.0)
    (change,) = watched.events
    assert isinstance(change, BreakerChanged)
    assert (change.endpoint, change.state, change.before, change.hearsay) == ("a", "open", "closed", True)
    assert watched.asked() == {"b", "c", "d"}
    watched.clock.advance(3.9)
    assert watched.asked() == {"b", "c", "d"}
    watched.clock.advance(4.0 * (1 + SPREAD) - 3.9)
    with watched.pool.acquire() as lease:
        assert lease.endpoint.id == "a"
        assert lease.probe
        lease.settle(Outcome.ok(seconds=0.1))
    assert watched.state("a") == "closed"


def test_a_probe_that_fails_opens_it_as_if_it_were_for_the_first_time() -> None:
    watched = Watched(breaker=BreakerPolicy(open_for=5.0))
    watched.hear(Said.OPEN, "a", 4.0)
    watched.clock.advance(5.0)
    watched.pool.acquire().settle(FAILED)
    member = watched.pool.get("a")
    assert member is not None
    assert 2.5 <= member.open_until - watched.clock.now() <= 5.0
    assert not watched.events[-1].hearsay  # type: ignore[attr-defined]


def test_a_closed_circuit_elsewhere_makes_our_probe_due_and_closes_nothing() -> None:
    watched = Watched(breaker=BreakerPolicy(consecutive_failures=1))
    watched.call("a", FAILED)
    assert watched.state("a") == "open"
    assert watched.hear(Said.CLOSED, "a", 0.0)
    assert watched.state("a") == "open"
    lease = watched.pool.acquire()
    assert (lease.endpoint.id, lease.probe) == ("a", True)
    lease.settle(FAILED)
    assert watched.state("a") == "open"
    assert not watched.hear(Said.CLOSED, "a", 0.0), "probes are not brought forward one after the other"
    watched.clock.advance(1.0)
    assert watched.hear(Said.CLOSED, "a", 0.0)
    assert not watched.hear(Said.CLOSED, "b", 0.0)


def test_a_cooling_down_elsewhere_cools_here_with_the_whole_quota_group() -> None:
    endpoints = [Endpoint("a", quota_group="org"), Endpoint("b", quota_group="org"), *map(Endpoint, "cde")]
    watched = Watched(endpoints)
    assert watched.hear(Said.COOLING, "elsewhere", 3.0, group="org")
    assert watched.asked() == {"c", "d", "e"}
    told = [EndpointCooling(watched.clock.now(), id, 3.0, None, hearsay=True) for id in "ab"]
    assert watched.events == told
    watched.clock.advance(3.0)
    assert watched.asked() == set("abcde")
    assert not watched.hear(Said.COOLING, "elsewhere", 3.0, group="other")


def test_an_ejection_elsewhere_ejects_here_and_it_returns_by_itself() -> None:
    watched = Watched()
    assert watched.hear(Said.EJECTED, "a", 7.0)
    assert watched.asked() == {"b", "c", "d"}
    watched.clock.advance(7.0)
    assert watched.asked() == set("abcd")
    first, last = watched.events
    assert isinstance(first, EndpointEjected)
    assert first.hearsay
    assert isinstance(last, EndpointReturned)


def test_who_neither_breaks_nor_ejects_by_itself_does_not_for_others() -> None:
    watched = Watched(breaker=None, outlier=None)
    assert not watched.hear(Said.OPEN, "a")
    assert not watched.hear(Said.EJECTED, "a")
    assert watched.events == []


def test_the_same_id_at_another_place_is_another_endpoint() -> None:
    here = Endpoint("a", url="http://10.0.0.1/v1")
    watched = Watched([here, *map(Endpoint, "bcd")])
    assert not watched.hear(Said.OPEN, "a")
    assert not watched.hear(Said.OPEN, "unknown")
    assert watched.hear(Said.OPEN, "a", place=place_of(here))


@pytest.mark.parametrize("said", [Said.OPEN, Said.COOLING, Said.EJECTED])
def test_no_more_than_a_part_of_the_pool_is_out_for_hearsay(said: Said) -> None:
    watched = Watched()
    assert [watched.hear(said, id, 300.0) for id in "abcd"] == [True, True, False, False]
    assert watched.asked() == {"c", "d"}
    assert watched.hear(Said.CLOSED, "a", 0.0) == (said is Said.OPEN)
    other = Watched()
    assert [other.hear(said, id, max_percent=25.0) for id in "abcd"] == [True, False, False, False]
    assert not Watched().hear(said, "a", max_percent=0.0)


def test_the_last_one_that_can_be_asked_stays() -> None:
    alone = Watched("a")
    assert not alone.hear(Said.OPEN, "a", max_percent=100.0)
    watched = Watched("abc")
    watched.pool.drain("b")
    watched.pool.force_open("c")
    for said in (Said.OPEN, Said.COOLING, Said.EJECTED):
        assert not watched.hear(said, "a", max_percent=100.0)
    assert watched.asked() == {"a"}


def test_the_last_one_of_its_tier_or_role_stays() -> None:
    tiers = Watched([Endpoint("a", tier="best"), *map(Endpoint, "bcd")])
    assert not tiers.hear(Said.OPEN, "a")
    roles = Watched([Endpoint("a", roles=frozenset({Role.EMBEDDING})), *map(Endpoint, "bcd")])
    assert not roles.hear(Said.OPEN, "a")
    assert roles.hear(Said.OPEN, "b")


@pytest.mark.parametrize("said", [Said.OPEN, Said.COOLING, Said.EJECTED])
def test_hearsay_is_forgotten_when_nobody_else_is_left(said: Said) -> None:
    watched = Watched("ab", breaker=BreakerPolicy(consecutive_failures=1))
    assert watched.hear(said, "a", 300.0)
    assert watched.asked() == {"b"}
    watched.call("b", FAILED)
    lease = watched.pool.acquire()
    assert (lease.endpoint.id, lease.probe) == ("a", False), "it is asked as if nobody had said anything"
    assert watched.asked(5) == {"a"}
    assert watched.state("a") == "closed"


@pytest.mark.parametrize("gone", ["removed", "drained", "unwell"])
def test_hearsay_is_forgotten_when_the_others_go_otherwise(gone: str) -> None:
    watched = Watched("ab")
    watched.hear(Said.OPEN, "a", 300.0)
    match gone:
        case "removed":
            watched.pool.remove("b")
        case "drained":
            watched.pool.set_status("b", EndpointStatus.DRAINING)
        case _:
            watched.pool.mark("b", healthy=False)
    assert watched.asked() == {"a"}
    told = [e for e in watched.events if isinstance(e, BreakerChanged)]
    assert [(e.state, e.hearsay) for e in told] == [("open", True), ("closed", True)]


def test_what_our_own_experience_says_stays_when_hearsay_is_forgotten() -> None:
    watched = Watched("abc", breaker=BreakerPolicy(consecutive_failures=1, open_for=8.0))
    watched.call("a", FAILED)
    member = watched.pool.get("a")
    assert member is not None
    own = member.open_until
    assert watched.hear(Said.OPEN, "a", 100.0)
    assert member.open_until > own
    watched.pool.remove("b")
    watched.pool.remove("c")
    assert member.open_until == own
    with pytest.raises(NoEndpointAvailable):
        watched.pool.acquire()


def test_one_that_was_set_by_hand_or_is_being_probed_is_left_as_it_is() -> None:
    watched = Watched(breaker=BreakerPolicy(consecutive_failures=1))
    watched.pool.force_open("a")
    assert not watched.hear(Said.OPEN, "a")
    assert not watched.hear(Said.CLOSED, "a", 0.0)
    watched.pool.disable_breaker("b")
    assert not watched.hear(Said.OPEN, "b")
    watched.call("c", FAILED)
    watched.clock.advance(10.0)
    assert not watched.hear(Said.OPEN, "c"), "its probe is due"
    lease = watched.pool.acquire()
    assert lease.probe
    assert not watched.hear(Said.OPEN, "c", 60.0)
    assert not watched.hear(Said.CLOSED, "c", 0.0)


def test_whoever_repeats_it_for_ever_is_heard_for_five_minutes_until_a_probe_of_ours() -> None:
    watched = Watched(breaker=BreakerPolicy(max_open=10_000.0))
    began = watched.clock.now()
    while watched.clock.now() - began < LONGEST - 1:
        watched.hear(Said.OPEN, "a", 30.0)
        watched.hear(Said.COOLING, "b", 30.0)
        watched.clock.advance(10.0)
    member, other = watched.pool.get("a"), watched.pool.get("b")
    assert member is not None
    assert other is not None
    assert member.open_until == began + LONGEST
    assert other.cooling_until == began + LONGEST
    watched.clock.advance(0.0)
    assert not watched.hear(Said.OPEN, "a", 30.0)
    assert watched.pool.acquire().probe


def test_who_was_wrong_is_not_believed_for_a_while_and_others_are() -> None:
    watched = Watched()
    watched.hear(Said.OPEN, "a", 4.0)
    watched.clock.advance(5.0)
    watched.pool.acquire().settle(Outcome.ok(seconds=0.1))
    assert not watched.hear(Said.OPEN, "a")
    assert watched.hear(Said.OPEN, "b"), "about another one"
    assert watched.hear(Said.OPEN, "a", sender="another")
    watched.pool.reset("a")
    watched.clock.advance(DOUBT)
    assert watched.hear(Said.OPEN, "a")


def test_who_takes_it_back_was_not_wrong() -> None:
    watched = Watched()
    watched.hear(Said.OPEN, "a", 4.0)
    watched.hear(Said.CLOSED, "a", 0.0)
    lease = watched.pool.acquire()
    assert lease.probe
    lease.settle(Outcome.ok(seconds=0.1))
    assert watched.hear(Said.OPEN, "a")


def test_what_was_right_is_believed_again() -> None:
    watched = Watched()
    watched.hear(Said.OPEN, "a", 4.0)
    watched.clock.advance(5.0)
    watched.pool.acquire().settle(FAILED)
    watched.clock.advance(5.0)
    watched.pool.acquire().settle(Outcome.ok(seconds=0.1))
    assert watched.state("a") == "closed"
    assert watched.hear(Said.OPEN, "a")


messages = st.builds(
    Hearsay,
    st.sampled_from(list(Said)),
    st.sampled_from(["a", "b", "c", "d", "e", "nobody"]),
    st.sampled_from([NOWHERE, "0" * 16]),
    st.floats(0, LONGEST),
    st.sampled_from(["x", "y"]),
    st.sampled_from([None, "org", "every"]),
)
steps = st.lists(
    messages
    | st.floats(0, 100)
    | st.tuples(st.sampled_from("abcde"), st.sampled_from(["fail", "ok", "throttle", "drain", "undrain"])),
    max_size=40,
)


@given(st.integers(1, 5), steps, st.floats(0, 100))
def test_whatever_is_heard_nobody_is_missing_who_would_be_there_without(
    size: int, steps: list[Any], max_percent: float
) -> None:
    """At every step somebody can be asked, unless what was seen here has taken out everybody."""
    endpoints = [Endpoint(id, quota_group="org" if id < "c" else "every") for id in "abcde"[:size]]
    watched = Watched(endpoints, breaker=BreakerPolicy(consecutive_failures=1))
    pool, clock = watched.pool, watched.clock
    for step in steps:
        if isinstance(step, Hearsay):
            before = {m.endpoint.id for m in pool if m.why_not(clock.now()) is None}
            pool.hear(step, max_percent=max_percent)
            after = {m.endpoint.id for m in pool if m.why_not(clock.now()) is None}
            assert after or not before
        elif isinstance(step, float):
            clock.advance(step)
        elif pool.get(step[0]) is not None:
            own(pool, *step)
        if any(not _out_by_itself(m, clock.now()) for m in pool):
            with pool.acquire():
                pass


def own(pool: Pool, id: str, what: str) -> None:
    if what == "drain":
        pool.drain(id)
    elif what == "undrain":
        pool.undrain(id)
    else:
        outcome = {
            "fail": FAILED,
            "ok": Outcome.ok(seconds=0.1),
            "throttle": Outcome.throttled(retry_after=9),
        }
        try:
            pool.acquire(Request(), exclude=[m.endpoint.id for m in pool if m.endpoint.id != id]).settle(
                outcome[what]
            )
        except NoEndpointAvailable:
            pass


def _out_by_itself(member: Any, now: float) -> bool:
    """Whether what was seen here keeps it out: its circuit was opened by calls of ours, or the like."""
    if member.status is not EndpointStatus.ONLINE:
        return True
    breaker = member.breaker
    tripped = breaker._tripped == 0.0
    if breaker.state.value in ("open", "half_open") and not tripped:
        return True
    # A cooling down and an ejection do not tell for whose sake they are: only what is surely free counts.
    return bool(member.cooling_until > now or member.ejected_until > now)
