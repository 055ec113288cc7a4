"""What a call does when nothing healthy is left, through every face."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import (
    ClusteredLLM,
    ClusterExhausted,
    ConfigError,
    DeadlineExceeded,
    Endpoint,
    EndpointStatus,
    NoEndpointAvailable,
    Policy,
    StreamInterrupted,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.endpoint import Price
from langchain_cluster.model.events import CallDegraded, CallEnded
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face, Heard, at_rest, cluster_of, text_of

SORRY = "We are busy. Please try again in a minute."
REFUSED = ConnectionError("refused")


def failing() -> ScriptedModel:
    return ScriptedModel(lambda messages: ConnectionError("refused"))


def static(**more: Any) -> Policy:
    return Policy(degrade=("static_answer",), static_answer=SORRY, **more)


def two(one: Any, other: Any, policy: Policy, **options: Any) -> ClusteredLLM:
    return ClusteredLLM([Endpoint("a", one), Endpoint("b", other)], policy=policy, seed=1, **options)


def test_a_static_answer_is_better_than_none(face: Face) -> None:
    llm = two(failing(), failing(), static(attempts=2))
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    assert text_of(message) == SORRY
    assert cluster_of(message)["degraded"] == "static_answer"
    assert (cluster_of(message)["endpoint"], cluster_of(message)["cost_usd"]) == (None, 0.0)
    assert [(e.step, e.error) for e in heard.of(CallDegraded)] == [("static_answer", "ClusterExhausted")]
    (ended,) = heard.of(CallEnded)
    assert (ended.error, ended.answer.degraded) == (None, "static_answer")
    assert at_rest(llm)


def test_a_good_answer_is_not_degraded(face: Face) -> None:
    message = face.ask(two(ScriptedModel("fine"), ScriptedModel("fine"), static()), "hello")
    assert text_of(message) == "fine"
    assert "degraded" not in cluster_of(message)


def test_nobody_to_be_asked_degrades_too(face: Face) -> None:
    llm = two(ScriptedModel("x"), ScriptedModel("y"), static())
    for id in ("a", "b"):
        llm.cluster.pool.set_status(id, EndpointStatus.OFFLINE)
    assert text_of(face.ask(llm, "hello")) == SORRY


def test_the_only_endpoints_own_error_degrades_too(face: Face) -> None:
    llm = ClusteredLLM([Endpoint("a", failing())], policy=static(attempts=1))
    assert text_of(face.ask(llm, "hello")) == SORRY


def test_a_call_out_of_time_degrades_too(plain_face: Face) -> None:
    llm = two(ScriptedModel("x", delay=5.0), ScriptedModel("y", delay=5.0), static(timeout=0.2))
    assert text_of(plain_face.ask(llm, "hello")) == SORRY


def test_the_callers_own_mistake_is_raised(face: Face) -> None:
    class BadRequest(Exception):
        status_code = 400

    def mistaken(messages: Any) -> Any:
        return BadRequest("no such parameter")

    llm = two(ScriptedModel(mistaken), ScriptedModel(mistaken), static())
    with pytest.raises(BadRequest, match="no such parameter"):
        face.ask(llm, "hello")


def test_a_stream_that_has_begun_is_not_followed_by_another_answer(face: Face) -> None:
    if not face.streams:
        pytest.skip("of streams only")
    broken = ScriptedModel(["half an", " answer", ConnectionError("reset")])
    with pytest.raises(StreamInterrupted):
        face.ask(ClusteredLLM([Endpoint("a", broken)], policy=static()), "hello")


def test_a_stale_answer_is_better_than_none(face: Face) -> None:
    clock = FakeClock(auto=True)
    model = ScriptedModel("fresh", lambda messages: ConnectionError("refused"))
    policy = Policy(attempts=1, degrade=("stale_cache",), stale_for=3600.0)
    cache = MemoryCache(ttl=60.0, clock=clock.now)
    llm = ClusteredLLM([Endpoint("a", model)], policy=policy, cache=cache, clock=clock)
    assert text_of(face.ask(llm, "hello")) == "fresh"
    assert cluster_of(face.ask(llm, "hello"))["cache"] == "memory"
    clock.advance(90.0)
    message = face.ask(llm, "hello")
    assert (text_of(message), cluster_of(message)["degraded"]) == ("fresh", "stale_cache")
    assert cluster_of(message)["cache"] == "memory"
    with pytest.raises(ConnectionError):
        face.ask(llm, "a question nobody asked before")
    clock.advance(7200.0)
    with pytest.raises((ConnectionError, NoEndpointAvailable)):
        face.ask(llm, "hello")


def test_without_the_step_no_second_copy_is_kept(face: Face) -> None:
    cache = MemoryCache()
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("fresh"))], cache=cache, policy=Policy(cache=True))
    face.ask(llm, "hello")
    assert cache.stats().entries == 1


def test_a_refresh_that_fails_serves_what_it_was_to_replace(face: Face) -> None:
    model = ScriptedModel("fresh", lambda messages: ConnectionError("refused"))
    policy = Policy(attempts=1, degrade=("stale_cache",))
    llm = ClusteredLLM([Endpoint("a", model)], policy=policy, cache=MemoryCache())
    face.ask(llm, "hello")
    message = face.ask(llm, "hello", {"configurable": {"cluster": {"cache": "refresh"}}})
    assert (text_of(message), cluster_of(message)["degraded"]) == ("fresh", "stale_cache")


def tiered(policy: Policy, **small: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [
            Endpoint("best", failing(), tier="large", price=Price(10.0, 30.0)),
            Endpoint("cheap", ScriptedModel("a cheap answer"), tier="small", price=Price(1.0, 2.0), **small),
            Endpoint("middle", ScriptedModel("a fair answer"), tier="medium", price=Price(3.0, 9.0)),
        ],
        policy=policy,
    )


LARGE = {"configurable": {"cluster": {"tier": "large"}}}


@pytest.mark.parametrize(
    ("tiers", "endpoint"),
    [((), "middle"), (("large", "small"), "cheap"), (("medium", "large", "small"), "cheap")],
)
def test_a_cheaper_tier_answers_for_one_that_cannot(tiers: Any, endpoint: str, face: Face) -> None:
    llm = tiered(Policy(degrade=("cheaper_tier",), tiers=tiers, attempts=2, wait=lambda state: 0.0))
    message = face.ask(llm, "hello", LARGE)
    where = cluster_of(message)
    assert (where["endpoint"], where["degraded"]) == (endpoint, "cheaper_tier")
    assert where["tier"] == {"middle": "medium", "cheap": "small"}[endpoint]


def test_the_steps_are_taken_in_their_order(face: Face) -> None:
    llm = tiered(
        Policy(
            degrade=("stale_cache", "cheaper_tier", "static_answer", "raise"),
            static_answer=SORRY,
            attempts=1,
        )
    )
    assert cluster_of(face.ask(llm, "hello", LARGE))["degraded"] == "cheaper_tier"
    for id in ("cheap", "middle"):
        llm.cluster.pool.drain(id)
    assert text_of(face.ask(llm, "hello", LARGE)) == SORRY


def test_when_no_step_has_an_answer_the_first_error_is_raised(face: Face) -> None:
    llm = tiered(Policy(degrade=("cheaper_tier", "raise"), attempts=1))
    for id in ("cheap", "middle"):
        llm.cluster.pool.drain(id)
    with pytest.raises(ConnectionError, match="refused") as caught:
        face.ask(llm, "hello", LARGE)
    assert any("nor could tier 'medium' answer" in note for note in caught.value.__notes__)


def test_a_degraded_answer_is_not_cached(face: Face) -> None:
    cache = MemoryCache()
    model = ScriptedModel(REFUSED, "fresh")
    llm = ClusteredLLM([Endpoint("a", model)], policy=static(attempts=1), cache=cache)
    assert text_of(face.ask(llm, "hello")) == SORRY
    assert text_of(face.ask(llm, "hello")) == "fresh"


@pytest.mark.parametrize(
    "given",
    [
        {"degrade": ("static_answer",)},
        {"static_answer": SORRY},
        {"degrade": ("raise", "stale_cache")},
        {"degrade": ("stale_cache", "stale_cache")},
        {"degrade": ("stale_cash",)},
        {"tiers": ("a", "a")},
        {"stale_for": 0},
    ],
    ids=str,
)
def test_a_contradictory_ladder_is_a_config_error(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Policy(**given)


def test_the_exhausted_pool_says_so_without_a_ladder(face: Face) -> None:
    with pytest.raises((ClusterExhausted, DeadlineExceeded)):
        face.ask(two(failing(), failing(), Policy(attempts=2)), "hello")
