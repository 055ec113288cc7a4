"""Tenacity's wait strategies say how long to wait, fed with our facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from tenacity import RetryCallState
from tenacity.stop import stop_after_attempt, stop_after_delay, stop_before_delay
from tenacity.wait import (
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)

from langchain_cluster.guard.retry import pause, stops


def pauses(wait: Callable[[RetryCallState], float], attempts: int = 5) -> list[float]:
    return [pause(wait, attempt=n, error=TimeoutError(), elapsed=1.0) for n in range(1, attempts + 1)]


def test_a_fixed_wait_is_fixed() -> None:
    assert pauses(wait_fixed(1.5)) == [1.5] * 5


def test_an_exponential_wait_doubles_up_to_its_bound() -> None:
    assert pauses(wait_exponential(multiplier=0.25, max=2.0)) == [0.25, 0.5, 1.0, 2.0, 2.0]


def test_a_chain_goes_on_with_its_last_link() -> None:
    assert pauses(wait_chain(wait_fixed(1), wait_fixed(2), wait_fixed(3))) == [1, 2, 3, 3, 3]


def test_a_sum_adds_up() -> None:
    assert pauses(wait_fixed(1) + wait_incrementing(start=1, increment=2)) == [2, 4, 6, 8, 10]
    assert pauses(wait_combine(wait_fixed(1), wait_fixed(2))) == [3] * 5


def test_no_wait_is_none() -> None:
    assert pauses(wait_none()) == [0.0] * 5


@given(st.integers(1, 2000))
def test_full_jitter_stays_between_nothing_and_the_doubled_bound(attempt: int) -> None:
    wait = pause(wait_random_exponential(0.25, 10.0), attempt=attempt, error=None, elapsed=0.0)
    assert 0.0 <= wait <= min(10.0, 0.25 * 2.0 ** min(attempt - 1, 60))


def test_full_jitter_is_not_one_number() -> None:
    assert len(set(pauses(wait_random_exponential(0.25, 10.0), 50))) > 40


def test_the_other_random_strategies_work_too() -> None:
    assert all(1.0 <= wait <= 2.0 for wait in pauses(wait_random(1.0, 2.0)))
    assert all(0.0 < wait <= 11.0 for wait in pauses(wait_exponential_jitter(max=10.0)))


def test_a_plain_callable_sees_the_attempt_the_error_and_the_time() -> None:
    error = TimeoutError("slow")
    seen: list[Any] = []

    def wait(state: RetryCallState) -> float:
        assert state.outcome is not None
        seen.append((state.attempt_number, state.outcome.exception(), state.seconds_since_start))
        assert state.outcome.failed
        assert (state.idle_for, state.args, state.kwargs, state.fn) == (0.0, (), {}, None)
        return 3

    assert pause(wait, attempt=2, error=error, elapsed=4.0) == 3.0
    assert seen == [(2, error, 4.0)]


def test_a_strategy_may_go_by_the_error() -> None:
    """As `tenacity.wait_exception` does, where there is one."""

    def by_error(error: BaseException) -> float:
        return 9.0 if isinstance(error, TimeoutError) else 1.0

    strategy = getattr(tenacity, "wait_exception", None)
    if strategy is None:
        pytest.skip("this tenacity has no wait_exception")
    assert pause(strategy(by_error), attempt=1, error=TimeoutError(), elapsed=0.0) == 9.0
    assert pause(strategy(by_error), attempt=1, error=OSError(), elapsed=0.0) == 1.0


def test_the_result_of_the_last_attempt_is_its_error() -> None:
    def wait(state: RetryCallState) -> float:
        assert state.outcome is not None
        state.outcome.result()
        return 1.0

    with pytest.raises(OSError, match="gone"):
        pause(wait, attempt=1, error=OSError("gone"), elapsed=0.0)
    assert pause(wait, attempt=1, error=None, elapsed=0.0) == 1.0


def test_a_negative_wait_is_no_wait() -> None:
    assert pause(lambda state: -5.0, attempt=1, error=None, elapsed=0.0) == 0.0


@pytest.mark.parametrize(
    ("stop", "attempt", "elapsed", "upcoming", "ends"),
    [
        (stop_after_attempt(3), 2, 0.0, 0.0, False),
        (stop_after_attempt(3), 3, 0.0, 0.0, True),
        (stop_after_delay(5), 1, 4.9, 0.0, False),
        (stop_after_delay(5), 1, 5.0, 0.0, True),
        (stop_before_delay(5), 1, 4.0, 0.9, False),
        (stop_before_delay(5), 1, 4.0, 1.0, True),
        (stop_after_attempt(9) | stop_after_delay(5), 1, 6.0, 0.0, True),
        (lambda state: isinstance(state.outcome.exception(), TimeoutError), 1, 0.0, 0.0, True),
    ],
)
def test_a_stop_strategy_is_told_our_facts(
    stop: Any, attempt: int, elapsed: float, upcoming: float, ends: bool
) -> None:
    told = stops(stop, attempt=attempt, error=TimeoutError(), elapsed=elapsed, upcoming=upcoming)
    assert told is ends
