"""Least connections: of few the least busy of all, of many the least busy of four."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer import LeastConnections
from langchain_cluster.balancer.least_connections import CHOICES
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing import simulate
from langchain_cluster.testing.clock import FakeClock
from langchain_cluster.testing.simulated.latency import Fixed
from langchain_cluster.testing.simulation import ClosedLoop
from tests.balancer.standin import PLAIN, picks, standins

TEN = [Endpoint(f"e{i}") for i in range(10)]
AWARE = {
    "least_connections": 0.018,
    "power_of_two": 0.022,
    "peak_ewma": 0.010,
    "adaptive": 0.018,
    "consistent_hash": 0.022,  # without keys
    "prefix_affinity": 0.022,  # without prefixes
}


@dataclass
class Exponential:
    mean: float

    def draw(self, rng: Random) -> float:
        return rng.expovariate(1.0 / self.mean)


@pytest.mark.parametrize("balancer", AWARE)
@pytest.mark.parametrize("spread", ["exponential", "fixed"])
def test_a_node_ten_times_slower_among_ten_gets_little(balancer: str, spread: str) -> None:
    drawn: Any = Exponential if spread == "exponential" else Fixed
    result = simulate(
        TEN,
        balancer=balancer,
        service={"e0": drawn(1.0)} | {f"e{i}": drawn(0.1) for i in range(1, 10)},
        arrivals=ClosedLoop(50),
        calls=12_000,
        seed=3,
        breaker=None,
    )
    print(f"{balancer}: {result.share('e0'):.2%}")
    assert 0.0 < result.share("e0") <= AWARE[balancer]


@pytest.mark.parametrize("balancer", AWARE)
def test_of_two_the_busy_one_gets_none(balancer: str) -> None:
    pool = Pool([Endpoint("busy"), Endpoint("idle")], balancer=balancer, clock=FakeClock(), seed=5)
    busy = pool.get("busy")
    assert busy is not None
    busy.in_flight = 5
    for _ in range(200):
        with pool.acquire() as lease:
            assert lease.endpoint.id == "idle"


@pytest.mark.parametrize("n", [2, 3, CHOICES])
def test_of_few_it_is_the_least_busy_of_all(n: int) -> None:
    candidates = standins(n, in_flight=[n - i for i in range(n)])
    assert picks(LeastConnections(), candidates, 500) == {f"e{n - 1}": 500}


def test_of_many_none_of_the_three_busiest_gets_any() -> None:
    got = picks(LeastConnections(), standins(20, in_flight=[9, 8, 7] + [1] * 17), 5000)
    assert not {"e0", "e1", "e2"} & set(got)
    assert len(got) == 17


@pytest.mark.parametrize("n", [2, 4, 10, 40])
@pytest.mark.parametrize("busy", [0, 3])
def test_ties_are_broken_by_chance_and_evenly(n: int, busy: int) -> None:
    got = picks(LeastConnections(), standins(n, in_flight=[busy] * n), 400 * n)
    assert all(got[f"e{i}"] == pytest.approx(400, rel=0.2) for i in range(n))


def test_calls_in_flight_are_for_their_weight() -> None:
    assert picks(LeastConnections(), standins(2, in_flight=[3, 2], weight=[2.0, 1.0]), 100) == {"e0": 100}
    assert picks(LeastConnections(), standins(2, in_flight=[5, 2], weight=[2.0, 1.0]), 100) == {"e1": 100}
    level = picks(LeastConnections(), standins(2, in_flight=[4, 2], weight=[2.0, 1.0]), 100)
    assert set(level) == {"e0", "e1"}


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.1, 9)), min_size=1, max_size=9), st.integers())
def test_at_least_three_are_as_busy_or_busier(facts: list[tuple[int, float]], seed: int) -> None:
    candidates = standins(len(facts), in_flight=[n for n, _ in facts], weight=[w for _, w in facts])
    balancer, rng = LeastConnections(), Random(seed)
    loads = sorted(c.in_flight / c.weight for c in candidates)
    for _ in range(4):  # by chance first, from the table then
        picked = balancer.pick(candidates, PLAIN, 0.0, rng)
        assert picked.in_flight / picked.weight <= loads[-min(CHOICES, len(loads))] * 1.000001


def test_those_who_are_left_are_chosen_from_as_well() -> None:
    pool = Pool(TEN, balancer="least_connections", clock=FakeClock(), seed=5)
    got: Counter[str] = Counter()
    for _ in range(900):
        with pool.acquire(exclude=("e3",)) as lease:
            got[lease.endpoint.id] += 1
    assert set(got) == {f"e{i}" for i in range(10)} - {"e3"}


def test_its_name_and_its_repr() -> None:
    assert LeastConnections.name == "least_connections"
    assert repr(LeastConnections()) == "LeastConnections()"
