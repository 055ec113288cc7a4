"""How long answers took lately."""

from __future__ import annotations

from math import inf, nan

import pytest

from langchain_cluster.guard.quantile import FEWEST, KEPT, Recent


def told(*seconds: float) -> Recent:
    recent = Recent()
    for each in seconds:
        recent.add(each)
    return recent


def test_too_few_samples_have_no_quantile() -> None:
    assert told(*range(FEWEST - 1)).quantile(0.5) is None
    assert told(*range(FEWEST)).quantile(0.5) == 9


@pytest.mark.parametrize(("part", "seconds"), [(0.01, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_what_a_part_does_not_exceed(part: float, seconds: float) -> None:
    assert told(*range(100, 0, -1)).quantile(part) == seconds


def test_old_samples_are_forgotten() -> None:
    assert told(*[100.0] * KEPT, *[1.0] * KEPT).quantile(0.99) == 1.0


def test_what_is_no_length_of_time_is_left_out() -> None:
    recent = told(*[1.0] * FEWEST, nan, inf, -1.0)
    assert recent.quantile(1.0) == 1.0


def test_a_quantile_follows_a_change() -> None:
    recent = told(*[1.0] * 100)
    assert recent.quantile(0.5) == 1.0
    for _ in range(200):
        recent.add(2.0)
    assert recent.quantile(0.5) == 2.0


def test_its_repr_tells_the_median() -> None:
    assert repr(told(1.0)) == "<Recent 1 samples, too few for a quantile>"
    assert repr(told(*[0.25] * 20)) == "<Recent 20 samples, median 0.250 s>"
