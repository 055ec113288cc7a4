"""Deadlines, waits and what is asked of whom, through every face."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_openai import ChatOpenAI

from langchain_cluster import (
    ClusteredLLM,
    ClusterExhausted,
    DeadlineExceeded,
    Endpoint,
    NoEndpointAvailable,
    Policy,
)
from langchain_cluster.model.events import EndpointCooling
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.faces.faces import Face, Heard, at_rest, cluster_of, pair, text_of

Models = Callable[[str], Any]
LATE = 1.5  # seconds after its deadline at which a call must have ended, on a busy machine


def test_a_silent_endpoint_costs_the_call_its_deadline_and_no_more(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Hang())
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=0.5))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded) as late:
        plain_face.ask(llm, "hello")
    assert 0.5 <= time.monotonic() - started < 0.5 + LATE
    assert late.value.after == 0.5
    assert [a.endpoint for a in late.value.attempts] == ["bad"]
    assert (server.count("bad"), server.count("good")) == (1, 0)
    assert llm.cluster.pool.get("bad").failed == 1, "a deadline that passed blames who let it pass"
    assert at_rest(llm, server)


def test_two_silent_endpoints_are_each_asked_once(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Hang())
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=0.6, attempt_timeout=0.3, attempts=2))
    started = time.monotonic()
    with pytest.raises((DeadlineExceeded, ClusterExhausted)) as late:
        plain_face.ask(llm, "hello")
    assert time.monotonic() - started < 0.6 + LATE
    assert [a.endpoint for a in late.value.attempts] == ["bad", "good"]
    assert (server.count("bad"), server.count("good")) == (1, 1)
    assert at_rest(llm, server)


def test_a_server_that_trickles_does_not_outlive_the_deadline(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    # Each read is quick: a limit on reads alone would never strike.
    server.behave("trickle", between_tokens=0.05, tokens=1000, latency=0.0 if plain_face.streams else 30.0)
    llm = ClusteredLLM([Endpoint("trickle", openai("trickle"))], timeout=0.5)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        plain_face.ask(llm, "hello")
    assert 0.5 <= time.monotonic() - started < 0.5 + LATE
    assert bool(plain_face.received) == plain_face.streams
    assert at_rest(llm, server)


def test_the_time_of_one_attempt_leaves_the_rest_for_the_next(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=20.0, attempt_timeout=1.0))
    started = time.monotonic()
    assert text_of(plain_face.ask(llm, "hello")) == "good says: hello"
    assert 1.0 <= time.monotonic() - started < 10.0


def test_a_call_may_have_its_own_deadline(plain_face: Face, server: SimulatedServer, openai: Models) -> None:
    server.fail(faults.Hang())
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=30.0, attempt_timeout=20.0))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        plain_face.ask(llm, "hello", {"configurable": {"cluster": {"timeout": "300ms"}}})
    assert time.monotonic() - started < 0.3 + LATE


def test_a_throttled_endpoint_is_left_alone_for_as_long_as_it_asked(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.RateLimited(retry_after_ms=500), endpoint="bad", times=1)
    llm = pair(openai("bad"), openai("good"))
    heard = Heard(llm)
    started = time.monotonic()
    assert cluster_of(plain_face.ask(llm, "hello"))["endpoint"] == "good"
    if time.monotonic() - started < 0.5:
        assert cluster_of(plain_face.ask(llm, "hello"))["endpoint"] == "good"
        assert server.count("bad") == 1
    assert [(e.endpoint, e.seconds) for e in heard.of(EndpointCooling)] == [("bad", 0.5)]
    time.sleep(max(0.0, started + 0.6 + 0.1 - time.monotonic()))
    assert cluster_of(plain_face.ask(llm, "hello"))["endpoint"] == "bad", "its time is over"


def test_when_all_are_throttled_the_call_waits_for_the_first_within_its_deadline(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.RateLimited(retry_after_ms=400), endpoint="bad", times=1)
    server.fail(faults.RateLimited(retry_after=30), endpoint="good", times=1)
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=20.0))
    started = time.monotonic()
    message = plain_face.ask(llm, "hello")
    assert 0.35 <= time.monotonic() - started < 5.0
    assert (cluster_of(message)["endpoint"], cluster_of(message)["attempts"]) == ("bad", 3)
    assert [round(s.at - started, 1) >= 0.4 for s in server.seen("bad")] == [False, True], "no tight loop"
    assert at_rest(llm, server)


def test_a_wait_beyond_the_deadline_fails_at_once(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.RateLimited(retry_after=30))
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=10.0))
    started = time.monotonic()
    with pytest.raises(ClusterExhausted) as exhausted:
        plain_face.ask(llm, "hello")
    assert time.monotonic() - started < 5.0
    assert [(a.endpoint, a.verdict) for a in exhausted.value.attempts] == [
        ("bad", "throttled"),
        ("good", "throttled"),
    ]
    assert any("cooling down for" in note for note in exhausted.value.__notes__)
    # Who comes next does not ask anybody, and learns when to.
    with pytest.raises(NoEndpointAvailable) as nobody:
        plain_face.ask(llm, "hello")
    assert 20 < nobody.value.retry_after <= 30
    assert set(nobody.value.why) == {"bad", "good"}
    assert server.count() == 2
    assert at_rest(llm, server)


def test_the_only_endpoints_own_error_reaches_the_caller_with_a_note(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.RateLimited(retry_after=30))
    llm = ClusteredLLM([Endpoint("bad", openai("bad"))], timeout=10.0)
    with pytest.raises(Exception, match="Rate limit") as throttled:
        plain_face.ask(llm, "hello")
    assert throttled.value.status_code == 429
    assert throttled.value.response.headers["retry-after"] == "30"
    first, *rest = throttled.value.__notes__
    assert first.startswith("attempt 1 on bad: 429 ")
    assert any("cooling down for" in note for note in rest)


def test_endpoints_of_one_quota_cool_down_together(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.RateLimited(retry_after=30), endpoint="bad")
    llm = ClusteredLLM(
        [
            Endpoint("bad", openai("bad"), quota_group="acme"),
            Endpoint("twin", openai("twin"), quota_group="acme", priority=1),
            Endpoint("good", openai("good"), priority=2),
        ]
    )
    assert cluster_of(face.ask(llm, "hello"))["endpoint"] == "good"
    assert (server.count("bad"), server.count("twin")) == (1, 0)


def test_a_prompt_that_is_too_long_goes_where_the_window_is_larger(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.ContextOverflow(), endpoint="bad")
    llm = ClusteredLLM(
        [
            Endpoint("bad", openai("bad"), context_window=8192),
            Endpoint("same", openai("same"), context_window=8192, priority=1),
            Endpoint("large", openai("good"), context_window=200_000, priority=2),
        ]
    )
    assert cluster_of(face.ask(llm, "hello"))["endpoint"] == "large"
    assert (server.count("bad"), server.count("same"), server.count("good")) == (1, 0, 1)
    assert llm.cluster.pool.get("bad").failed == 0


def test_a_prompt_too_long_for_the_largest_window_is_the_callers_to_shorten(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.ContextOverflow())
    llm = ClusteredLLM(
        [
            Endpoint("bad", openai("bad"), context_window=8192),
            Endpoint("large", openai("good"), context_window=200_000, priority=1),
        ]
    )
    with pytest.raises(ContextOverflowError) as overflow:
        face.ask(llm, "hello")
    assert (server.count("bad"), server.count("good")) == (1, 1)
    assert len(overflow.value.__notes__) == 2


def test_an_endpoint_that_refuses_connections_is_passed_over(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    dead = ChatOpenAI(base_url=f"http://127.0.0.1:{port}/v1", model="m", api_key="-")
    llm = pair(dead, openai("good"))
    heard = Heard(llm)
    assert text_of(face.ask(llm, "hello")) == "good says: hello"
    assert heard.verdicts == [("bad", "transient")]


def test_when_all_are_dead_one_error_lists_who_was_asked(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Refuse())
    llm = ClusteredLLM([Endpoint(name, openai(name)) for name in ("a", "b", "c")], timeout=5.0)
    started = time.monotonic()
    with pytest.raises(ClusterExhausted) as exhausted:
        plain_face.ask(llm, "hello")
    assert time.monotonic() - started < 5.0
    assert sorted(a.endpoint for a in exhausted.value.attempts) == ["a", "b", "c"]
    assert [a.number for a in exhausted.value.attempts] == [1, 2, 3]
    assert exhausted.value.__cause__ is exhausted.value.attempts[-1].error
    for attempt in exhausted.value.attempts:
        assert f"attempt {attempt.number} on {attempt.endpoint}: " in str(exhausted.value)
    assert isinstance(exhausted.value, RuntimeError)
    assert exhausted.value.is_retryable is False
    assert at_rest(llm, server)


def test_a_tier_that_only_the_standby_has_is_served_by_it(face: Face) -> None:
    llm = ClusteredLLM(
        [
            Endpoint("small", ScriptedModel("small")),
            Endpoint("big", ScriptedModel("big"), tier="large", priority=1),
        ]
    )
    message = face.ask(llm, "hello", {"configurable": {"cluster": {"tier": "large"}}})
    assert text_of(message) == "big"


def test_the_same_endpoint_is_asked_again_only_after_a_wait(plain_face: Face) -> None:
    waits: list[int] = []

    def wait(state: Any) -> float:
        waits.append(state.attempt_number)
        return 0.05

    model = ScriptedModel(ConnectionError("one"), ConnectionError("two"), "at last")
    llm = ClusteredLLM([Endpoint("only", model)], policy=Policy(wait=wait))
    started = time.monotonic()
    message = plain_face.ask(llm, "hello")
    assert (text_of(message), cluster_of(message)["attempts"]) == ("at last", 3)
    assert time.monotonic() - started >= 0.1
    assert waits == [1, 2]


def test_retries_end_when_the_budget_of_the_cluster_is_spent(face: Face) -> None:
    llm = ClusteredLLM(
        [Endpoint(name, ScriptedModel(ConnectionError("down"))) for name in ("a", "b")],
        policy=Policy(retry_budget=0.0, attempts=2),
        breaker=None,
    )
    budget = llm.cluster._budget(0.0)
    while budget.withdraw(llm.cluster.clock.now()):
        pass
    with pytest.raises(ConnectionError) as down:
        face.ask(llm, "hello")
    assert any("retry budget" in note for note in down.value.__notes__)
