"""Tables are made for those who come again, and deal evenly."""

from __future__ import annotations

from collections import Counter
from math import ceil, perm
from random import Random
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer import PeakEwma
from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.balancer.tables import (
    ALIKE,
    HANDS,
    MOST,
    ROUNDS,
    Tables,
    even,
    hands,
    remember,
    shuffled,
)
from langchain_cluster.model.call import Request
from tests.balancer.standin import standins


def counted() -> tuple[Tables[Any], list[Any]]:
    made: list[Any] = []

    def make(candidates: Any, rng: Random) -> int:
        made.append(candidates)
        return len(made)

    return Tables(make), made


def test_a_table_is_made_at_second_sight_and_then_kept() -> None:
    tables, made = counted()
    here, rng = standins(3), Random(1)
    assert tables.find(here, rng) is None
    assert tables.find(here, rng) == (here, 1)
    assert tables.find(here, rng) == (here, 1)
    assert tables.last == (here, 1)
    assert len(made) == 1


def test_those_who_come_once_cost_no_table_and_push_nobody_out() -> None:
    tables, made = counted()
    here, rng = standins(3), Random(1)
    for _ in range(2):
        tables.find(here, rng)
    for _ in range(50):
        assert tables.find(tuple(here[:2]), rng) is None
        assert tables.last[0] is here
    assert len(made) == 1


def test_two_that_alternate_get_a_table_each() -> None:
    tables, made = counted()
    one, other = standins(3), standins(4)
    for _ in range(10):
        for candidates in (one, other):
            tables.find(candidates, Random(1))
    assert made == [one, other]


def test_only_the_last_few_are_kept() -> None:
    tables, _ = counted()
    tuples = [standins(2) for _ in range(10)]
    for candidates in tuples:
        for _ in range(2):
            tables.find(candidates, Random(1))
    assert [candidates for candidates, _ in tables] == tuples[-MOST:]


def test_a_list_may_change_and_is_never_kept() -> None:
    tables, _ = counted()
    candidates = list(standins(3))
    assert [tables.find(candidates, Random(1)) for _ in range(5)] == [None] * 5


def test_of_two_who_make_the_same_thing_both_get_the_first() -> None:
    kept: dict[int, str] = {}
    assert remember(kept, 1, "first", 2) == "first"
    assert remember(kept, 1, "second", 2) == "first"
    remember(kept, 2, "x", 2)
    remember(kept, 3, "y", 2)
    assert list(kept) == [2, 3]
    assert ALIKE > MOST


def test_weights_are_even_or_not() -> None:
    assert even(standins(3))
    assert not even(standins(3, weight=[1.0, 1.0, 2.0]))


@given(st.integers(1, 120), st.integers(1, 6), st.integers(0, 99))
def test_a_hand_holds_distinct_candidates(n: int, size: int, seed: int) -> None:
    deal = hands(range(n), size, Random(seed))
    for _ in range(50):
        hand = deal()
        assert len(hand) == len(set(hand)) == min(n, size)


@pytest.mark.parametrize(("n", "size"), [(2, 2), (3, 3), (10, 2), (10, 4), (70, 2), (300, 4)])
def test_everybody_is_dealt_and_comes_first_equally_often(n: int, size: int) -> None:
    deal = hands(range(n), size, Random(3))
    step = perm(n, size) if perm(n, size) <= HANDS else n
    circle = ceil(max(HANDS, ROUNDS * n if step == n else 0) / step) * step
    dealt = [deal() for _ in range(circle)]
    assert [deal() for _ in range(circle)] == dealt
    assert len(set(Counter(hand[0] for hand in dealt).values())) == 1
    assert len(set(Counter(one for hand in dealt for one in hand).values())) == 1
    assert set(range(n)) == {hand[0] for hand in dealt}


def test_every_ordered_pair_of_ten_is_dealt_equally_often() -> None:
    deal = hands(range(10), 2, Random(3))
    counts = Counter(deal() for _ in range(90 * 12))
    assert len(counts) == 90
    assert set(counts.values()) == {12}


def test_another_seed_deals_in_another_order() -> None:
    def dealt(seed: int) -> list[Any]:
        deal = hands(range(10), 2, Random(seed))
        return [deal() for _ in range(20)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)


@given(st.lists(st.integers()), st.integers())
def test_shuffling_loses_nobody(items: list[int], seed: int) -> None:
    assert sorted(shuffled(items, Random(seed))) == sorted(items)


@pytest.mark.parametrize("name", BALANCERS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 30])
def test_every_balancer_picks_one_of_whoever_is_there(name: str, n: int) -> None:
    balancer, rng = BALANCERS[name](), Random(1)
    candidates = standins(n)
    requests = [Request(), Request(key="k", prefix="p"), Request(key="", prefix="")]
    for turn in range(40):
        request = requests[turn % 3]
        assert balancer.pick(candidates, request, float(turn), rng) in candidates
        left = tuple(c for c in candidates if c is not candidates[turn % n]) or candidates
        assert balancer.pick(left, request, float(turn), rng) in left
        assert balancer.pick(list(left), request, float(turn), rng) in left


@pytest.mark.parametrize("name", BALANCERS)
def test_who_has_left_is_not_picked_again(name: str) -> None:
    balancer, rng = BALANCERS[name](), Random(1)
    before = standins(10)
    for turn in range(20):
        balancer.pick(before, Request(key=f"{turn}", prefix=f"{turn}"), 0.0, rng)
    for gone in range(10):
        left = tuple(c for c in before if c.index != gone)
        for turn in range(60):
            assert balancer.pick(left, Request(key=f"{turn}", prefix=f"{turn}"), 0.0, rng) in left


@pytest.mark.parametrize("name", BALANCERS)
def test_eight_threads_that_begin_at_once_are_all_answered(name: str) -> None:
    balancer, candidates, start = BALANCERS[name](), standins(5), Barrier(8)
    got: list[Any] = []

    def ask() -> None:
        rng = Random(1)
        start.wait()
        for turn in range(300):
            asked = candidates if turn % 3 else candidates[:3] + candidates[4:]
            got.append(balancer.pick(asked, Request(key=f"{turn}", prefix=f"{turn}"), 0.0, rng) in asked)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [True] * 2400


def test_turns_of_two_sets_that_alternate_do_not_shift_each_other() -> None:
    balancer, rng = BALANCERS["round_robin"](), Random(1)
    ours, theirs = standins(2), standins(2)
    counts: Counter[Any] = Counter()
    for _ in range(50):
        for group in (ours, theirs):
            counts[balancer.pick((*group,), Request(), 0.0, rng)] += 1
    assert set(counts.values()) == {25}


@given(
    st.lists(
        st.tuples(st.floats(0.01, 100), st.integers(0, 50), st.floats(-1e6, 1000)), min_size=2, max_size=2
    ),
    st.integers(0, 99),
)
def test_from_a_table_peak_ewma_decides_as_its_cost_says(
    facts: tuple[tuple[float, int, float], ...], seed: int
) -> None:
    balancer, rng, now = PeakEwma(), Random(seed), 900.0
    ewma, in_flight, at = ([fact[i] for fact in facts] for i in range(3))
    pair = standins(2, ewma_seconds=ewma, in_flight=in_flight, ewma_at=at)
    costs = [balancer.cost(member, now) for member in pair]
    for _ in range(5):
        picked = balancer.pick(pair, Request(), now, rng)
        assert costs[picked.index] <= min(costs) * 1.000001
