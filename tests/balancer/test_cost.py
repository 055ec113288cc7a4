"""What a pick costs does not grow with the pool: counted in looks at candidates, not in time."""

from __future__ import annotations

from collections import Counter
from math import exp
from random import Random
from threading import Lock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer import Adaptive, ConsistentHash, PeakEwma
from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Endpoint, Load
from langchain_cluster.pool.peers import Peers
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import Standin, standins

SIZES = (10, 100, 1000)
PREFIX = "You are a careful assistant that answers in one sentence. " * 20


class Watched(Standin):
    """A candidate that counts how often it is looked at."""

    looks = 0

    def __getattribute__(self, name: str) -> Any:
        Watched.looks += 1
        return super().__getattribute__(name)


def watched(n: int, in_flight: int) -> tuple[Watched, ...]:
    """`n` candidates that answered at different times, as a pool has them: with their calls counted."""
    candidates = tuple(
        Watched(
            Endpoint(f"e{i}"),
            i,
            in_flight=in_flight,
            ewma_seconds=0.2 + i % 7 / 10,
            ewma_at=990.0 + i % 13 / 10,
        )
        for i in range(n)
    )
    for candidate in candidates:
        candidate.lock = Lock()  # type: ignore[attr-defined]
    Peers(candidates)
    return candidates


def looks_per_pick(name: str, n: int, in_flight: int) -> float:
    balancer, candidates, rng = BALANCERS[name](), watched(n, in_flight), Random(1)
    if hasattr(balancer, "turns"):
        balancer.turns(candidates, rng)
    else:
        balancer.prepare(candidates, rng)  # type: ignore[attr-defined]
    for fresh in (True, False):  # the first time an endpoint is looked at may cost something once
        Watched.looks, picks = 0, 3000
        for i in range(picks):
            request = Request(key=f"session-{i}", prefix=f"{i} {PREFIX}")
            balancer.pick(candidates, request, 1000.0, rng)
        if not fresh:
            return Watched.looks / picks
    raise AssertionError


@pytest.mark.parametrize("in_flight", [0, 5])
@pytest.mark.parametrize("name", BALANCERS)
def test_a_pick_looks_at_as_few_of_a_thousand_as_of_ten(name: str, in_flight: int) -> None:
    looks = [looks_per_pick(name, n, in_flight) for n in SIZES]
    assert max(looks) <= 1.3 * min(looks) + 1
    assert max(looks) <= 20


def uneven(n: int) -> tuple[Watched, ...]:
    """Three of four have a third more than their part of all calls: too many. The fourth has none."""
    candidates = watched(n, 0)
    for candidate in candidates:
        candidate.in_flight = 5 if candidate.index % 4 else 0
    Peers(candidates)
    return candidates


@pytest.mark.parametrize("name", ["consistent_hash", "prefix_affinity"])
def test_where_a_key_spills_to_is_found_in_a_few_looks(name: str) -> None:
    """At most bound / (bound - 1) = 5 tries are expected, here 4."""
    looks = {}
    for n in SIZES:
        balancer, candidates, rng = BALANCERS[name](), uneven(n), Random(1)
        choose = balancer.prepare(candidates, rng)  # type: ignore[attr-defined]
        Watched.looks, spilled = 0, 0
        for i in range(2000):
            picked = choose(Request(key=f"session-{i}", prefix=f"{i} {PREFIX}"), 1000.0)
            spilled += picked.index % 4 == 0
        looks[n] = Watched.looks / 2000
        assert spilled == 2000
    assert max(looks.values()) <= 40
    assert looks[1000] <= 1.5 * looks[10]


def test_a_key_that_has_filled_its_own_places_costs_no_more_for_that() -> None:
    """One key for everything: its calls have to go to 800 of 1000 endpoints."""
    pool = Pool(
        [Endpoint(f"e{i}") for i in range(1000)], balancer="consistent_hash", clock=FakeClock(), seed=1
    )
    for _ in range(3000):
        pool.acquire(Request(key="hot"))
    assert max(m.in_flight for m in pool) <= 4  # ceil(1.25 * 3)
    candidates = watched(1000, 0)
    for candidate, member in zip(candidates, pool, strict=True):
        candidate.in_flight = member.in_flight
    Peers(candidates)
    choose = ConsistentHash().prepare(candidates, Random(1))
    choose(Request(key="hot"), 0.0)
    Watched.looks = 0
    for _ in range(100):
        choose(Request(key="hot"), 0.0)
    assert Watched.looks / 100 < 150


@pytest.mark.parametrize("n", [100, 500, 1000])
@pytest.mark.parametrize("name", BALANCERS)
def test_so_many_endpoints_are_balanced(name: str, n: int) -> None:
    clock = FakeClock()
    pool = Pool([Endpoint(f"e{i}") for i in range(n)], balancer=name, clock=clock, seed=1)
    got: Counter[str] = Counter()
    held = []
    for i in range(4 * n):
        held.append(pool.acquire(Request(key=f"session-{i}", prefix=f"{i} {PREFIX}")))
        got[held[-1].endpoint.id] += 1
        if len(held) > n:
            held.pop(0).settle(Outcome.ok(seconds=0.1))
    assert len(got) > 0.9 * n
    assert max(got.values()) <= 20
    gone = {f"e{i}" for i in range(0, 20, 2)}
    for id in gone:
        pool.drain(id)
    for i in range(100):
        with pool.acquire(Request(key=f"session-{i}", prefix=f"{i} {PREFIX}")) as lease:
            assert lease.endpoint.id not in gone
    while held:
        held.pop().settle(Outcome.ok(seconds=0.1))
    assert sum(m.in_flight for m in pool) == 0
    assert pool.snapshot.ready[0].peers.in_flight == 0


# -- what was made beforehand decides as what is worked out now ----------------------------------------

facts = st.tuples(st.floats(0, 100), st.integers(0, 50), st.floats(0.1, 10), st.floats(-5000, 50))


@given(st.lists(facts, min_size=2, max_size=8), st.integers(0, 3), st.floats(0.5, 50))
def test_of_two_the_one_with_the_lower_cost_whenever_they_were_measured(
    given_facts: list[tuple[float, int, float, float]], seed: int, decay: float
) -> None:
    ewma, in_flight, weight, at = ([fact[i] for fact in given_facts] for i in range(4))
    candidates = standins(len(given_facts), ewma_seconds=ewma, in_flight=in_flight, weight=weight, ewma_at=at)
    balancer = PeakEwma(decay=decay)
    choose = balancer.prepare(candidates, Random(seed))
    costs = {c: balancer.cost(c, 0.0) for c in candidates}
    for _ in range(20):
        picked = choose(Request(), 0.0)
        assert picked in candidates
        if len(candidates) <= 3:
            assert costs[picked] <= min(costs.values()) * (1 + 1e-9)


@given(facts, facts, st.floats(0.5, 50))
def test_of_a_pair_the_cheaper(one: Any, other: Any, decay: float) -> None:
    ewma, in_flight, weight, at = zip(one, other, strict=True)
    candidates = standins(
        2, ewma_seconds=list(ewma), in_flight=list(in_flight), weight=list(weight), ewma_at=list(at)
    )
    balancer = PeakEwma(decay=decay)
    choose = balancer.prepare(candidates, Random(1))
    a, b = (balancer.cost(c, 0.0) for c in candidates)
    for _ in range(4):
        picked = choose(Request(), 0.0)
        if min(a, b) > 1e-200:  # (where both have faded to nothing nobody can tell)
            assert balancer.cost(picked, 0.0) <= min(a, b) * (1 + 1e-9)


def test_scores_that_are_kept_follow_what_changes() -> None:
    balancer, candidates = Adaptive(), standins(2, ewma_seconds=[0.2, 0.2], ewma_at=[1.0, 1.0])
    choose, (one, other) = balancer.prepare(candidates, Random(1)), candidates

    def favourite(now: float) -> Any:
        got = {choose(Request(), now) for _ in range(8)}
        best = max(candidates, key=lambda c: balancer.score(c, now, candidates))
        scores = [balancer.score(c, now, candidates) for c in candidates]
        assert len(got) == 2 if scores[0] == scores[1] else got == {best}
        return best

    favourite(1.0)
    one.in_flight = 3
    assert favourite(1.0) is other
    one.in_flight, other.load = 0, Load(cpu_percent=90.0)
    assert favourite(1.0) is one
    one.ewma_seconds, one.ewma_at, other.load = 5.0, 1.5, None
    assert favourite(1.5) is other
    one.ewma_seconds, one.ewma_at, other.failed = 0.2, 1.6, 50
    assert favourite(3.0) is one


def test_a_balancer_is_asked_for_its_decay() -> None:
    for decay in (1.0, 10.0):
        clock = FakeClock()
        pool = Pool([Endpoint("a")], balancer=PeakEwma(decay=decay), clock=clock, seed=1)
        pool.acquire().settle(Outcome.ok(seconds=5.0))
        clock.advance(2.0)
        pool.acquire().settle(Outcome.ok(seconds=1.0))
        old = exp(-2.0 / decay)
        assert pool.snapshot.members[0].ewma_seconds == pytest.approx(5.0 * old + 1.0 * (1.0 - old))


@pytest.mark.parametrize("name", ["power_of_two", "least_connections"])
@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, 2.0, 5.0], [1.0, 0.1], [1.0, 2.0, 4.0] * 30])
def test_an_idle_pool_is_asked_in_proportion_to_weights(name: str, weights: list[float]) -> None:
    endpoints = [Endpoint(f"e{i}", weight=weight) for i, weight in enumerate(weights)]
    pool = Pool(endpoints, balancer=name, clock=FakeClock(), seed=1)
    got: Counter[float] = Counter()
    for _ in range(8000):
        with pool.acquire() as lease:  # one at a time: nobody ever has a call in flight
            got[lease.endpoint.weight] += 1
    for weight in set(weights):
        part = weight * weights.count(weight) / sum(weights)
        assert got[weight] / 8000 == pytest.approx(part, rel=0.1)
