"""What users may choose about guarding a call: safe defaults, and one clear error for anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity.wait import wait_chain, wait_fixed, wait_random_exponential

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.policy import BreakerPolicy, OutlierPolicy, Policy


def test_the_defaults_are_the_promised_ones() -> None:
    policy = Policy()
    assert (policy.attempts, policy.timeout, policy.attempt_timeout) == (3, 60.0, None)
    assert (policy.connect_timeout, policy.first_token_timeout, policy.idle_timeout) == (5.0, None, 30.0)
    assert (policy.retry_budget, policy.hedge, policy.recover, policy.cache) == (0.2, None, "fail", True)
    assert isinstance(policy.wait, wait_random_exponential)
    assert (policy.wait.multiplier, policy.wait.max) == (0.25, 10.0)


def test_the_breakers_defaults_are_the_promised_ones() -> None:
    assert BreakerPolicy().model_dump() == {
        "window": 30.0,
        "failure_rate": 0.5,
        "min_calls": 10,
        "consecutive_failures": 5,
        "slow_call_seconds": None,
        "slow_call_rate": 0.8,
        "open_for": 5.0,
        "max_open": 300.0,
        "half_open_probes": 1,
        "window_calls": None,
        "probe_expires": 60.0,
    }


def test_the_outliers_defaults_are_the_promised_ones() -> None:
    assert OutlierPolicy().model_dump() == {
        "consecutive_failures": 5,
        "failure_rate": 0.5,
        "min_calls": 20,
        "window": 30.0,
        "ejection": 30.0,
        "max_ejection": 300.0,
        "max_percent": 50.0,
    }


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Policy, {"attempts": 0}),
        (Policy, {"attempts": 1.5}),
        (Policy, {"timeout": 0}),
        (Policy, {"timeout": -1}),
        (Policy, {"timeout": float("nan")}),
        (Policy, {"timeout": float("inf")}),
        (Policy, {"timeout": "soon"}),
        (Policy, {"timeout": True}),
        (Policy, {"attempt_timeout": 0}),
        (Policy, {"connect_timeout": -1}),
        (Policy, {"first_token_timeout": 0}),
        (Policy, {"idle_timeout": 0}),
        (Policy, {"retry_budget": -0.1}),
        (Policy, {"recover": "magic"}),
        (Policy, {"cache": "sometimes"}),
        (Policy, {"wait": 5}),
        (Policy, {"hedge": 0}),
        (Policy, {"hedge": "p20"}),
        (Policy, {"hedge": "soon"}),
        (Policy, {"hedge": True}),
        (Policy, {"hedge": {"after": 0.5, "max_extra": 0}}),
        (Policy, {"hedge": 0.5, "attempts": 1}),
        (Policy, {"attemps": 3}),
        (BreakerPolicy, {"failure_rate": 0}),
        (BreakerPolicy, {"failure_rate": 1.01}),
        (BreakerPolicy, {"min_calls": 0}),
        (BreakerPolicy, {"consecutive_failures": 0}),
        (BreakerPolicy, {"slow_call_rate": 0}),
        (BreakerPolicy, {"slow_call_seconds": 0}),
        (BreakerPolicy, {"half_open_probes": 0}),
        (BreakerPolicy, {"window": 0}),
        (BreakerPolicy, {"open_for": 0}),
        (BreakerPolicy, {"open_for": 10, "max_open": 5}),
        (OutlierPolicy, {"max_percent": 101}),
        (OutlierPolicy, {"max_percent": -1}),
        (OutlierPolicy, {"min_calls": 0}),
        (OutlierPolicy, {"ejection": 0}),
    ],
    ids=str,
)
def test_what_is_not_valid_is_one_config_error(kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        kind(**given)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Policy, {"attempts": 1, "timeout": None, "connect_timeout": None, "idle_timeout": None}),
        (Policy, {"retry_budget": None}),
        (Policy, {"retry_budget": 0}),
        (Policy, {"cache": "refresh"}),
        (Policy, {"cache": False}),
        (Policy, {"attempt_timeout": 60.0, "timeout": 60.0}),
        (Policy, {"attempt_timeout": 100.0, "timeout": None}),
        (BreakerPolicy, {"consecutive_failures": None, "failure_rate": 1}),
        (BreakerPolicy, {"open_for": 5, "max_open": 5}),
        (OutlierPolicy, {"max_percent": 0}),
        (OutlierPolicy, {"max_percent": 100, "consecutive_failures": None}),
    ],
    ids=str,
)
def test_the_edges_are_valid(kind: Any, given: dict[str, Any]) -> None:
    for name, value in given.items():
        assert getattr(kind(**given), name) == value


@pytest.mark.parametrize("part", ["attempt_timeout", "first_token_timeout"])
def test_no_part_of_a_call_may_take_longer_than_the_whole(part: str) -> None:
    with pytest.raises(ConfigError, match=f"{part} 61 s is longer than timeout 60 s"):
        Policy(**{part: 61})


def test_an_open_time_longer_than_its_bound_is_refused_with_both() -> None:
    with pytest.raises(ConfigError, match="max_open 5 s is shorter than open_for 10 s"):
        BreakerPolicy(open_for=10, max_open=5)


def test_durations_may_be_written_as_text() -> None:
    assert Policy(timeout="2m", attempt_timeout="1500ms").timeout == 120.0
    assert BreakerPolicy(window="1h").window == 3600.0


def test_a_policy_cannot_be_changed_afterwards() -> None:
    with pytest.raises(Exception, match="frozen"):
        Policy().attempts = 5  # type: ignore[misc]


def test_a_wait_may_be_a_strategy_or_any_callable() -> None:
    chain = wait_chain(wait_fixed(1), wait_fixed(2))
    assert Policy(wait=chain).wait is chain
    strategy = lambda state: 1.0  # noqa: E731
    assert Policy(wait=strategy).wait is strategy


def test_but_changes_some_values_and_validates_them() -> None:
    policy = Policy(attempts=5, timeout=10)
    changed = policy.but(timeout="20s")
    assert (changed.attempts, changed.timeout) == (5, 20.0)
    assert policy.timeout == 10.0
    with pytest.raises(ConfigError):
        policy.but(attempts=0)
    with pytest.raises(ConfigError, match="attempts"):
        policy.but(atempts=4)


def test_but_keeps_what_was_never_set_unset() -> None:
    assert Policy(attempts=5).but(timeout=3).model_fields_set == {"attempts", "timeout"}


def test_within_shortens_the_parts_with_the_whole() -> None:
    policy = Policy(timeout=60, attempt_timeout=20, first_token_timeout=2, attempts=4)
    short = policy.within(5)
    assert (short.timeout, short.attempt_timeout, short.first_token_timeout) == (5.0, 5.0, 2.0)
    assert short.attempts == 4
    long = policy.within("2m")
    assert (long.timeout, long.attempt_timeout, long.first_token_timeout) == (120.0, 20.0, 2.0)


def test_within_leaves_parts_that_were_not_set_unset() -> None:
    short = Policy().within(1)
    assert (short.timeout, short.attempt_timeout, short.first_token_timeout) == (1.0, None, None)


@given(
    st.floats(0.001, 1e6),
    st.one_of(st.none(), st.floats(0.001, 1e3)),
    st.one_of(st.none(), st.floats(0.001, 1e3)),
)
def test_within_is_always_valid_and_never_longer(
    whole: float, attempt: float | None, first: float | None
) -> None:
    policy = Policy(timeout=1e3, attempt_timeout=attempt, first_token_timeout=first).within(whole)
    assert policy.timeout == whole
    for part, before in ((policy.attempt_timeout, attempt), (policy.first_token_timeout, first)):
        assert part == (None if before is None else min(before, whole))
