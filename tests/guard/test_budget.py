"""A retry budget bounds what all calls together add to a provider's load."""

from __future__ import annotations

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.guard.budget import MIN_PER_SECOND, WINDOW, RetryBudget


def drained(budget: RetryBudget, now: float, most: int = 1000) -> int:
    """How many extras it gives at `now`."""
    taken = 0
    while taken < most and budget.withdraw(now):
        taken += 1
    return taken


def test_what_is_spent_is_remembered_for_ten_seconds() -> None:
    assert WINDOW == 10.0


def test_a_storm_of_failures_is_bounded() -> None:
    """100 calls a second, everything fails, three tries each would make 18,000."""
    budget = RetryBudget(0.2, 0.0)
    attempts = 0
    for call in range(6_000):
        now = call / 100
        budget.deposit(now)
        attempts += 1
        for _ in range(2):
            if not budget.withdraw(now):
                break
            attempts += 1
    promised = 6_000 * 1.2 + 60 * MIN_PER_SECOND
    assert attempts <= 7_800
    assert attempts >= promised * 0.99
    print(f"attempts in the storm: {attempts}")


def test_when_few_fail_all_of_them_may_be_retried() -> None:
    budget = RetryBudget(0.2, 0.0)
    for call in range(3_000):
        now = call / 100
        budget.deposit(now)
        if call % 10 == 0:
            assert budget.withdraw(now)


def test_a_pool_with_hardly_any_traffic_can_retry_three_times_a_second() -> None:
    assert drained(RetryBudget(0.0, 0.0), 0.0) == MIN_PER_SECOND * WINDOW == 30


def test_a_refused_withdrawal_takes_nothing() -> None:
    budget = RetryBudget(0.0, 0.0)
    drained(budget, 0.0)
    for _ in range(100):
        assert not budget.withdraw(5.0)
    assert drained(budget, 10.0) == 30


def test_retries_do_not_deposit() -> None:
    budget = RetryBudget(1.0, 0.0)
    budget.deposit(0.0)
    assert drained(budget, 0.0) == 31


def test_idling_for_a_window_gives_everything_back_and_no_more() -> None:
    budget = RetryBudget(0.2, 0.0)
    for _ in range(100):
        budget.deposit(0.0)
    assert drained(budget, 0.0) == 50
    assert drained(budget, 9.9) == 0
    assert drained(budget, 10.0) == 30
    assert drained(budget, 1_000_000.0) == 30


def test_deposits_are_forgotten_a_second_at_a_time() -> None:
    budget = RetryBudget(1.0, 0.0)
    for second in range(10):
        budget.deposit(float(second))
    assert "10 calls" in repr(budget)
    budget.deposit(10.0)
    assert repr(budget) == "<RetryBudget 0 extras for 10 calls in 10 s>"
    budget.deposit(14.0)
    assert repr(budget) == "<RetryBudget 0 extras for 7 calls in 10 s>"


def test_time_that_goes_backwards_forgets_nothing_and_gives_nothing() -> None:
    budget = RetryBudget(0.2, 100.0)
    for _ in range(100):
        budget.deposit(100.0)
    assert drained(budget, 100.0) == 50
    assert drained(budget, 3.0) == 0
    budget.deposit(3.0)
    assert "101 calls" in repr(budget)
    assert drained(budget, 109.9) == 0
    assert drained(budget, 110.0) == 30


def test_it_starts_at_the_time_it_is_told() -> None:
    budget = RetryBudget(0.0, 1e9)
    assert drained(budget, 1e9) == 30
    assert drained(budget, 1e9 + 9.0) == 0


def test_threads_together_get_what_one_would() -> None:
    budget = RetryBudget(0.2, 0.0)
    for _ in range(100):
        budget.deposit(0.0)
    got: list[int] = []
    threads = [Thread(target=lambda: got.append(drained(budget, 0.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 50


@pytest.mark.parametrize("ratio", [0.0, 0.2, 1.0])
@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), max_size=200))
def test_no_window_ever_holds_more_extras_than_its_calls_pay_for(
    ratio: float, steps: list[tuple[float, bool]]
) -> None:
    budget, now = RetryBudget(ratio, 0.0), 0.0
    calls: list[float] = []
    extras: list[float] = []
    for gap, extra in steps:
        now += gap
        if not extra:
            budget.deposit(now)
            calls.append(now)
        elif budget.withdraw(now):
            extras.append(now)
            paid = sum(at > now - WINDOW for at in calls)
            assert sum(int(at) > int(now) - WINDOW for at in extras) <= ratio * paid + 30
