"""Refusing calls here while most are refused there: how many, whose, and until when."""

from __future__ import annotations

from random import Random

import pytest

from langchain_cluster import ThrottlePolicy
from langchain_cluster.guard.throttle import Throttle

NOW = 1000.0


def throttle(asked: int = 0, accepted: int = 0, seed: int = 1) -> Throttle:
    made = Throttle(ThrottlePolicy(), Random(seed))
    for _ in range(asked):
        made.asked(NOW)
    for _ in range(accepted):
        made.accepted(NOW)
    return made


@pytest.mark.parametrize(
    ("asked", "accepted", "normal", "sheddable", "critical"),
    [
        (0, 0, 0.0, 0.0, 0.0),
        (100, 100, 0.0, 0.0, 0.0),
        (100, 50, 0.0, 50 / 101, 0.0),
        (100, 30, 40 / 101, 70 / 101, 20 / 101),
        (100, 0, 0.8, 0.8, 0.4),
        (1, 0, 0.5, 0.5, 0.25),
    ],
)
def test_the_chance_is_the_sre_books_capped(
    asked: int, accepted: int, normal: float, sheddable: float, critical: float
) -> None:
    made = throttle(asked, accepted)
    chances = [made.chance(priority, NOW) for priority in ("normal", "sheddable", "critical")]
    assert chances == pytest.approx([normal, sheddable, critical])


def test_a_healthy_backend_is_never_throttled_and_costs_no_chance() -> None:
    made = throttle(100, 100)
    assert not any(made.refuses("critical", NOW) for _ in range(1000))
    assert made.refused == 0


def test_the_same_seed_refuses_the_same_calls() -> None:
    first, second = throttle(100, seed=3), throttle(100, seed=3)
    assert [first.refuses("normal", NOW) for _ in range(100)] == [
        second.refuses("normal", NOW) for _ in range(100)
    ]
    assert 60 < first.refused < 95
    assert repr(first) == f"<Throttle, {first.refused} refused>"


def test_after_a_long_outage_it_recovers_within_a_minute() -> None:
    made, now, refused_after = throttle(), NOW, []
    for tick in range(30_000):  # 100 calls a second: 180 s of outage, then all is well
        now = NOW + tick / 100
        up = now >= NOW + 180.0
        if made.refuses("normal", now):
            if up:
                refused_after.append(now - NOW - 180.0)
            continue
        made.asked(now)
        if up:
            made.accepted(now)
    assert 0 < refused_after[-1] < 60.0  # uncapped: not within 300


def test_what_was_is_forgotten_after_the_window() -> None:
    made = throttle(100)
    assert made.chance("normal", NOW + 26.0) > 0.5
    assert made.chance("normal", NOW + 31.0) == 0.0
