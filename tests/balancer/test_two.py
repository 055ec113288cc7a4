"""Two distinct candidates by chance, or all when they are few."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer.two import FEW, two_of


class Highest(Random):
    """The highest number `random` can give."""

    def random(self) -> float:
        return 1.0 - 2.0**-53


@given(st.integers(FEW + 1, 300), st.integers(0, 2**32))
def test_of_many_it_takes_two_that_are_distinct(n: int, seed: int) -> None:
    one, other = two_of(range(n), Random(seed))
    assert one != other
    assert {one, other} <= set(range(n))


@pytest.mark.parametrize("n", range(1, FEW + 1))
def test_of_few_it_takes_all(n: int) -> None:
    rng = Random(1)
    for _ in range(50):
        assert sorted(two_of(range(n), rng)) == list(range(n))


@pytest.mark.parametrize("n", range(1, 9))
def test_the_highest_chance_stays_in_bounds(n: int) -> None:
    assert set(two_of(range(n), Highest())) <= set(range(n))


def test_every_ordered_pair_is_as_likely_as_any_other() -> None:
    rng, n = Random(5), 5
    counts = Counter(tuple(two_of(range(n), rng)) for _ in range(40_000))
    assert len(counts) == n * (n - 1)
    assert all(1_800 <= count <= 2_200 for count in counts.values())


@pytest.mark.parametrize("n", [2, 3])
def test_of_few_each_is_first_as_often_as_any_other(n: int) -> None:
    rng = Random(5)
    counts = Counter(two_of(range(n), rng)[0] for _ in range(6_000))
    assert all(6_000 / n * 0.93 <= count <= 6_000 / n * 1.07 for count in counts.values())


def test_of_three_every_order_is_as_likely_as_any_other() -> None:
    rng = Random(5)
    counts = Counter(tuple(two_of("abc", rng)) for _ in range(12_000))
    assert len(counts) == 6
    assert all(1_850 <= count <= 2_150 for count in counts.values())


def test_few_are_three() -> None:
    assert FEW == 3
