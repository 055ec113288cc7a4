"""What a breaker's policy may say: one window, and numbers that can be reached."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from langchain_cluster import BreakerPolicy, CircuitBreaker, ConfigError
from langchain_cluster.testing.clock import FakeClock


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"half_open_probes": 0}, "half_open_probes: 0 should be greater than or equal to 1"),
        ({"min_calls": 0}, "min_calls: 0 should be greater than or equal to 1"),
        ({"consecutive_failures": 0}, "consecutive_failures: 0 should be greater than or equal to 1"),
        ({"failure_rate": 0}, "failure_rate: 0 should be greater than 0"),
        ({"failure_rate": 1.1}, "failure_rate: 1.1 should be less than or equal to 1"),
        ({"failure_rate": 50}, "failure_rate: 50 should be less than or equal to 1"),
        ({"failure_rate": nan}, "failure_rate: nan should be"),
        ({"slow_call_rate": 0}, "slow_call_rate: 0 should be greater than 0"),
        ({"window": 0}, "window: 0 should be greater than 0"),
        ({"window": inf}, "window: inf is no finite number of seconds"),
        ({"open_for": nan}, "open_for: nan is no finite number of seconds"),
        ({"open_for": -1.0}, "open_for: -1.0 should be greater than 0"),
        ({"open_for": "soon"}, "open_for: 'soon' is no duration: write seconds"),
        ({"open_for": 10.0, "max_open": 5.0}, "max_open 5 s is shorter than open_for 10 s"),
        ({"slow_call_seconds": 0}, "slow_call_seconds: 0 should be greater than 0"),
        ({"probe_expires": 0}, "probe_expires: 0 should be greater than 0"),
        ({"window_calls": 0}, "window_calls: 0 should be greater than or equal to 1"),
        ({"window_calls": 10**7}, "window_calls: 10000000 should be less than or equal to 1000000"),
        ({"window_calls": 10.0}, "window_calls: 10.0 should be a valid integer"),
        ({"window_calls": True}, "window_calls: True should be a valid integer"),
        (
            {"window": 30.0, "window_calls": 100},
            "window 30 s and window_calls 100 contradict each other: give one of them",
        ),
        ({"window": None}, "window is missing: give seconds, or window_calls"),
        (
            {"window_calls": 5, "min_calls": 6},
            "min_calls 6 is more than window_calls 5: the rates would never be looked at",
        ),
        ({"window_call": 5}, "unknown key 'window_call': expected one of .*did you mean 'window_calls'"),
    ],
)
def test_what_makes_no_sense_is_a_config_error_that_says_what_would(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        BreakerPolicy(**given)


def test_a_window_of_calls_is_instead_of_seconds_and_asks_for_no_more_calls_than_it_has() -> None:
    policy = BreakerPolicy(window_calls=4)
    assert (policy.window, policy.window_calls, policy.min_calls) == (None, 4, 4)
    assert BreakerPolicy(window_calls=100).min_calls == 10
    assert BreakerPolicy(window_calls=100, min_calls=50).min_calls == 50
    assert (BreakerPolicy().window, BreakerPolicy().window_calls) == (30.0, None)
    assert BreakerPolicy(window_calls=None).window == 30.0


@pytest.mark.parametrize(
    "policy", [BreakerPolicy(), BreakerPolicy(window_calls=7), BreakerPolicy(window="2m")]
)
def test_a_policy_that_is_written_down_can_be_read_again(policy: BreakerPolicy) -> None:
    assert BreakerPolicy(**policy.model_dump(mode="json")) == policy


def call(breaker: CircuitBreaker, *, fails: bool = False, seconds: float = 0.1) -> None:
    try:
        with breaker:
            breaker._clock.advance(seconds)  # type: ignore[attr-defined]
            if fails:
                raise ConnectionError
    except ConnectionError:
        pass


def test_with_a_window_of_calls_it_opens_by_the_last_so_many_however_long_ago() -> None:
    breaker = CircuitBreaker(
        BreakerPolicy(window_calls=10, failure_rate=0.5, consecutive_failures=None), FakeClock()
    )
    for n in range(100):
        call(breaker, fails=n % 10 < 4, seconds=100.0)
    assert breaker.state == "closed"  # four of ten, at any moment
    assert breaker.counts(0.0) == (10, 4, 0)
    call(breaker, fails=True)
    call(breaker, fails=True)
    assert breaker.state == "closed"
    for _ in range(3):
        call(breaker, fails=True)
    assert breaker.reason == "5 of 10 failed"


def test_with_a_window_of_calls_it_waits_for_enough_of_them() -> None:
    breaker = CircuitBreaker(
        BreakerPolicy(window_calls=100, min_calls=20, consecutive_failures=None), FakeClock()
    )
    for _ in range(19):
        call(breaker, fails=True)
    assert breaker.state == "closed"
    call(breaker, fails=True)
    assert breaker.reason == "20 of 20 failed"


def test_with_a_window_of_calls_answers_push_failures_out() -> None:
    breaker = CircuitBreaker(BreakerPolicy(window_calls=10, consecutive_failures=None), FakeClock())
    for _ in range(9):
        call(breaker, fails=True)
    for _ in range(100):
        call(breaker)
    assert breaker.counts(0.0) == (10, 0, 0)


def test_slow_calls_open_a_window_of_calls_too() -> None:
    breaker = CircuitBreaker(BreakerPolicy(window_calls=5, slow_call_seconds=1.0), FakeClock())
    call(breaker)
    for _ in range(4):
        call(breaker, seconds=1.5)
    assert breaker.reason == "4 of 5 took longer than 1 s"
