"""Smooth weighted round robin: exact in every period, and as spread out as it can be."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from random import Random
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_cluster.balancer import Weighted
from langchain_cluster.balancer.weighted import Deadlines, by_deadline, integers, smooth, turns_of
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import PLAIN, picks, standins


def served(pool: Pool, calls: int) -> str:
    got = ""
    for _ in range(calls):
        with pool.acquire() as lease:
            got += lease.endpoint.id
    return got


def pool_of(**weights: float) -> Pool:
    endpoints = [Endpoint(id, weight=weight) for id, weight in weights.items()]
    return Pool(endpoints, balancer="weighted", clock=FakeClock(), seed=1)


def test_it_gives_what_nginx_gives() -> None:
    assert served(pool_of(a=5, b=1, c=1), 14) == "aabacaa" * 2
    assert served(pool_of(a=4, b=3, c=2), 18) == "abcabacba" * 2


def test_weight_0_is_never_picked() -> None:
    assert served(pool_of(a=2, b=0, c=1), 300).count("b") == 0
    candidates = standins(3, weight=[2.0, 0.0, 1.0])  # nor if somebody hands one in
    assert picks(Weighted(), candidates, 300) == {"e0": 200, "e2": 100}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(2, 4))
def test_every_period_has_exact_counts(weights: list[int], periods: int) -> None:
    candidates = standins(len(weights), weight=[float(weight) for weight in weights])
    balancer, rng = Weighted(), Random(0)
    share = integers([float(weight) for weight in weights])
    for _ in range(periods):
        got = Counter(balancer.pick(candidates, PLAIN, 0.0, rng).index for _ in range(sum(share)))
        assert [got[i] for i in range(len(share))] == share


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_by_deadline_every_period_is_exact_too(shares: list[int]) -> None:
    got = Counter(by_deadline(shares))
    assert [got[i] for i in range(len(shares))] == shares


@given(st.lists(st.integers(1, 40), min_size=2, max_size=10))
def test_nobody_runs_ahead_of_its_share_by_more_than_the_others_allow(shares: list[int]) -> None:
    total = sum(shares)
    for order in (smooth(shares), by_deadline(shares)):
        for place, share in enumerate(shares):
            so_far = accumulate(int(turn == place) for turn in order)
            assert all(abs(n - share * (i + 1) / total) < len(shares) for i, n in enumerate(so_far))


@pytest.mark.parametrize(
    ("weights", "whole"),
    [([0.1, 0.2, 0.3], [1, 2, 3]), ([2.0, 4.0], [1, 2]), ([1.5, 1.0], [3, 2]), ([7.0], [1])],
)
def test_weights_are_taken_as_they_are_written(weights: list[float], whole: list[int]) -> None:
    assert integers(weights) == whole


def test_eight_threads_share_exactly() -> None:
    pool = pool_of(a=5, b=2, c=1)
    counts: list[Counter[str]] = []

    def ask() -> None:
        counts.append(Counter(served(pool, 800)))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts, Counter()) == {"a": 4000, "b": 1600, "c": 800}


def test_many_endpoints_are_exact_as_well() -> None:
    weights = [float(1 + i % 4) for i in range(300)]
    got = picks(Weighted(), standins(300, weight=weights), int(sum(weights)) * 2)
    assert all(got[f"e{i}"] == 2 * weight for i, weight in enumerate(weights))


def odd_weights(n: int, seed: int) -> list[float]:
    rng = Random(seed)
    return [rng.uniform(0.01, 3.0) for _ in range(n)]


@settings(max_examples=30)
@given(st.integers(2, 20), st.integers(0, 1000))
def test_weights_with_nothing_in_common_get_their_share_within_one_turn(n: int, seed: int) -> None:
    weights = odd_weights(n, seed)
    turn = turns_of(range(n), weights)
    assert isinstance(turn, Deadlines)
    got = Counter(turn() for _ in range(2000))
    for i, weight in enumerate(weights):
        assert abs(got[i] - 2000 * weight / sum(weights)) <= n


def test_deadlines_lose_nobody_under_threads() -> None:
    weights = odd_weights(4, 1)
    balancer, candidates = Weighted(), standins(4, weight=weights)
    counts: list[Counter[int]] = []

    def ask() -> None:
        rng = Random(0)
        counts.append(Counter(balancer.pick(candidates, PLAIN, 0.0, rng).index for _ in range(5000)))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = sum(counts, Counter())
    assert sum(got.values()) == 40_000
    # Not exact: while one thread holds an endpoint's turn, another goes on without it. With the hundreds
    # of endpoints that deadlines are for, that is one of hundreds.
    for i, weight in enumerate(weights):
        assert got[i] / 40_000 == pytest.approx(weight / sum(weights), rel=0.1)


def test_deadlines_too_leave_weight_0_out() -> None:
    turn = turns_of("abc", [0.0, *odd_weights(2, 1)])
    assert isinstance(turn, Deadlines)
    assert {turn() for _ in range(500)} == {"b", "c"}


def test_who_is_due_first_has_the_first_turn() -> None:
    assert by_deadline([3, 1]) == [0, 0, 0, 1]
    assert by_deadline([1, 2]) == [1, 0, 1]


def test_a_weight_out_of_all_proportion_is_no_error() -> None:
    turn = turns_of("ab", [1e-300, 1e300])
    assert {turn() for _ in range(100)} == {"b"}


def test_those_who_are_left_after_exclusions_keep_their_proportions() -> None:
    pool = pool_of(a=5, b=2, c=1)
    got: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for _ in range(80):
        with pool.acquire() as lease:
            whole[lease.endpoint.id] += 1
        with pool.acquire(exclude=("b",)) as lease:
            got[lease.endpoint.id] += 1
    assert whole == {"a": 50, "b": 20, "c": 10}  # not shifted by the others
    assert got["a"] == pytest.approx(80 * 5 / 6, abs=1)
    assert got["b"] == 0


def test_a_pool_that_changes_often_does_not_favour_the_heaviest() -> None:
    pool, got = pool_of(a=2, b=1, c=1), Counter[str]()
    for change in range(200):
        pool.replace([Endpoint("a", weight=2), Endpoint("b"), Endpoint("c", weight=1 + change / 200)])
        got[served(pool, 1)] += 1
    assert got["a"] / 200 < 0.6


def test_a_new_weight_counts_from_the_next_call() -> None:
    pool = pool_of(a=1, b=1)
    served(pool, 10)
    pool.replace([Endpoint("a", weight=3), Endpoint("b", weight=1)])
    assert Counter(served(pool, 40)) == {"a": 30, "b": 10}


@pytest.mark.parametrize("bad", [float("nan"), -1.0, float("inf"), "2"])
def test_a_weight_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="is not a finite number >= 0"):
        Endpoint("a", weight=bad)


def test_its_name_and_its_repr() -> None:
    assert Weighted.name == "weighted"
    assert repr(Weighted()) == "Weighted()"
