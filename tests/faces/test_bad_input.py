"""What cannot be meant: policies that contradict themselves, wherever they are said, and odd 429s."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from langchain_cluster import BreakerPolicy, ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.model.events import EndpointCooling
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face, Heard, at_rest, text_of

CONTRADICTORY: list[tuple[dict[str, Any], str]] = [
    ({"attempt_timeout": 61.0}, "attempt_timeout 61 s is longer than timeout 60 s"),
    ({"first_token_timeout": 61.0}, "first_token_timeout 61 s is longer than timeout 60 s"),
    ({"hedge": 0.5, "attempts": 1}, "hedge is a second attempt, and attempts is 1"),
    ({"degrade": ["raise", "stale_cache"]}, 'degrade goes on after "raise"'),
    ({"static_answer": "sorry"}, "static_answer has a text: give both the step and the text"),
    ({"attempts": 0}, "attempts"),
]


def one(**options: Any) -> ClusteredLLM:
    return ClusteredLLM([Endpoint("a", ScriptedModel("fine"))], **options)


@pytest.mark.parametrize(("given", "told"), CONTRADICTORY, ids=lambda value: str(value)[:40])
def test_a_policy_that_contradicts_itself_is_told_wherever_it_is_said(
    face: Face, given: dict[str, Any], told: str
) -> None:
    llm = one()
    endpoint = {"id": "a", "model": "scripted:m"}
    for say in (
        lambda: Policy(**given),
        lambda: one(policy=given),
        lambda: one(agents={"planner": given}),
        lambda: llm.for_agent("planner", **given),
        lambda: face.ask(llm, "hello", {"configurable": {"cluster": {"policy": given}}}),
        lambda: ClusteredLLM.from_config({"endpoints": [endpoint], "policy": given}),
    ):
        with pytest.raises(ConfigError) as error:
            say()
        assert told in str(error.value)
    assert at_rest(llm)
    assert text_of(face.ask(llm, "hello")) == "fine", "and it does no harm"


@pytest.mark.parametrize("given", [{"half_open_probes": 0}, {"half_open_probes": -1}, {"open_for": 400.0}])
def test_a_breaker_that_could_never_close_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BreakerPolicy(**given)
    with pytest.raises(ConfigError, match=r"breaker\.|max_open"):
        ClusteredLLM.from_config({"endpoints": [{"id": "a", "model": "scripted:m"}], "breaker": given})


def throttling(retry_after: str) -> Exception:
    error = Exception("429")
    error.status_code = 429  # type: ignore[attr-defined]
    error.response = SimpleNamespace(headers={"retry-after": retry_after})  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("-5", 1.0), ("nan", 1.0), ("inf", 1.0), ("soon", 1.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_a_retry_after_that_is_none_is_a_second_and_no_tight_loop(
    plain_face: Face, header: str, seconds: float
) -> None:
    clock = FakeClock(auto=True)
    model = ScriptedModel(throttling(header), "fine")
    llm = ClusteredLLM([Endpoint("a", model)], clock=clock, seed=1)
    heard = Heard(llm)
    assert text_of(plain_face.ask(llm, "hello")) == "fine"
    assert [event.seconds for event in heard.of(EndpointCooling)] == [seconds]
    assert (model.calls, len(clock.slept)) == (2, 1)
    assert clock.slept[0] > 0.0


def test_a_retry_after_of_a_year_is_told_and_waited_for_as_long_as_may_be(plain_face: Face) -> None:
    clock = FakeClock(auto=True)
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel(throttling("31536000"), "fine"))],
        clock=clock,
        policy=Policy(timeout=None),
    )
    heard = Heard(llm)
    assert text_of(plain_face.ask(llm, "hello")) == "fine"
    assert [(e.seconds, e.asked) for e in heard.of(EndpointCooling)] == [(300.0, 31_536_000.0)]
    assert clock.now() - 1000.0 <= 301.0
