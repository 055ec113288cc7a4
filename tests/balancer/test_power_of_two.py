"""Power of two choices: the busy one gets nothing while somebody is idle, and nobody herds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer import PowerOfTwo
from langchain_cluster.model.endpoint import Endpoint
from tests.balancer.standin import PLAIN, picks, shares, standins


def test_of_two_the_busy_one_gets_none() -> None:
    assert picks(PowerOfTwo(), standins(2, in_flight=[1, 0]), 1000) == {"e1": 1000}
    assert picks(PowerOfTwo(), standins(2, in_flight=[3, 4]), 1000) == {"e0": 1000}


def test_of_three_only_the_least_busy_gets_any() -> None:
    assert picks(PowerOfTwo(), standins(3, in_flight=[2, 1, 3]), 300) == {"e1": 300}


def test_of_many_the_busiest_gets_none() -> None:
    counts = picks(PowerOfTwo(), standins(10, in_flight=[5] + [4] * 9), 5000)
    assert counts["e0"] == 0
    assert len(counts) == 9


def test_of_many_the_least_busy_gets_two_of_n() -> None:
    counts = picks(PowerOfTwo(), standins(10, in_flight=[0] + [1] * 9), 20_000)
    assert counts["e0"] / 20_000 == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_ties_are_broken_by_chance_and_evenly(n: int) -> None:
    counts = picks(PowerOfTwo(), standins(n), 8_000)
    assert all(8_000 / n * 0.9 <= counts[f"e{i}"] <= 8_000 / n * 1.1 for i in range(n))


def test_a_tie_beside_a_busy_third_is_broken_evenly_too() -> None:
    counts = picks(PowerOfTwo(), standins(3, in_flight=[0, 1, 0]), 8_000)
    assert counts["e1"] == 0
    assert counts["e0"] == pytest.approx(4_000, rel=0.06)


def test_calls_in_flight_are_for_their_weight() -> None:
    heavy = standins(2, in_flight=[3, 2], weight=[2.0, 1.0])
    assert picks(PowerOfTwo(), heavy, 100) == {"e0": 100}
    level = standins(2, in_flight=[4, 2], weight=[2.0, 1.0])
    assert set(picks(PowerOfTwo(), level, 100)) == {"e0", "e1"}
    light = standins(2, in_flight=[5, 2], weight=[2.0, 1.0])
    assert picks(PowerOfTwo(), light, 100) == {"e1": 100}


def test_under_load_shares_follow_the_weights() -> None:
    endpoints = [Endpoint("a", weight=1), Endpoint("b", weight=2), Endpoint("c", weight=3)]
    got = shares(
        "power_of_two",
        lambda id, rng: (rng.expovariate(1.0), True),
        endpoints=endpoints,
        rate=60,
        calls=6_000,
        warm_up=600,
    )
    assert [got[id] * 6 for id in "abc"] == pytest.approx([1, 2, 3], rel=0.1)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.1, 10)), min_size=1, max_size=12), st.integers())
def test_it_never_takes_the_worst_of_all_when_somebody_is_better(
    facts: list[tuple[int, float]], seed: int
) -> None:
    candidates = standins(len(facts), in_flight=[n for n, _ in facts], weight=[w for _, w in facts])
    picked = PowerOfTwo().pick(candidates, PLAIN, 0.0, Random(seed))
    assert picked in candidates
    loads = sorted(c.in_flight / c.weight for c in candidates)
    mine = picked.in_flight / picked.weight
    if len(candidates) <= 3:
        assert mine == pytest.approx(loads[0])
    elif loads[-1] > loads[-2] * 1.000001:
        assert mine < loads[-1]


def test_its_name_and_its_repr() -> None:
    assert PowerOfTwo.name == "power_of_two"
    assert repr(PowerOfTwo()) == "PowerOfTwo()"
