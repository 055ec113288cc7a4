"""The time that is left around a call is all that the call has."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from langchain_cluster import ClusteredLLM, DeadlineExceeded, Endpoint, Policy, deadline
from langchain_cluster.drive.deadline import Within, bounded
from langchain_cluster.errors import ConfigError
from langchain_cluster.testing import FakeClock, ScriptedModel


def slow(timeout: float = 30.0) -> ClusteredLLM:
    return ClusteredLLM([Endpoint("a", ScriptedModel("late", delay=20.0))], timeout=timeout)


def left_to(model: Any) -> ScriptedModel:
    """A model that answers with how much time its caller has left."""
    return ScriptedModel(lambda messages: f"{bounded(Policy(timeout=999.0)).timeout:.1f}")


def test_without_one_a_policy_stays_as_it_is() -> None:
    policy = Policy()
    assert bounded(policy) is policy


def test_a_policy_gets_what_is_left_and_no_more() -> None:
    clock = FakeClock()
    with deadline(10.0, now=clock.now):
        short = Policy(timeout=5.0)
        assert bounded(short) is short
        assert bounded(Policy(timeout=60.0)).timeout == 10.0
        assert bounded(Policy(timeout=None)).timeout == 10.0
        clock.advance(4.0)
        cut = bounded(Policy(timeout=60.0, attempt_timeout=20.0, first_token_timeout=1.0, attempts=7))
        assert (cut.timeout, cut.attempt_timeout, cut.first_token_timeout, cut.attempts) == (6.0, 6.0, 1.0, 7)
        clock.advance(6.0)
        with pytest.raises(DeadlineExceeded):
            bounded(Policy())
    assert bounded(Policy()).timeout == 60.0


def test_the_nearest_end_counts() -> None:
    clock = FakeClock()
    with deadline("10s", now=clock.now):
        with deadline(60.0, now=clock.now):
            assert bounded(Policy()).timeout == 10.0
        with deadline(2.0, now=clock.now):
            assert bounded(Policy()).timeout == 2.0
        assert bounded(Policy()).timeout == 10.0
    with Within(clock.now, None):
        assert bounded(Policy()).timeout == 60.0


def test_ends_on_clocks_of_different_origins_compare_by_what_is_left() -> None:
    late, early = FakeClock(1e6), FakeClock(10.0)
    with deadline(5.0, now=late.now), deadline(60.0, now=early.now):
        assert bounded(Policy()).timeout == 5.0
    with deadline(60.0, now=early.now), deadline(5.0, now=late.now):
        assert bounded(Policy()).timeout == 5.0


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "soon", None])
def test_no_length_of_time_is_an_error(seconds: Any) -> None:
    with pytest.raises(ConfigError, match="deadline"):
        deadline(seconds)


def test_one_may_be_used_again() -> None:
    clock = FakeClock()
    again = deadline(3.0, now=clock.now)
    for _ in range(2):
        with again:
            assert bounded(Policy()).timeout == 3.0
        clock.advance(1.0)


def test_a_call_ends_with_the_block_around_it() -> None:
    began = time.monotonic()
    with deadline(0.2), pytest.raises(DeadlineExceeded) as caught:
        slow().invoke("hello")
    assert time.monotonic() - began < 10.0
    assert 0.0 < caught.value.after <= 0.2


async def test_an_awaited_call_ends_with_the_block_around_it() -> None:
    with deadline(0.2), pytest.raises(DeadlineExceeded):
        await slow().ainvoke("hello")


def test_when_no_time_is_left_nobody_is_asked() -> None:
    clock, model = FakeClock(), ScriptedModel("hi")
    llm = ClusteredLLM([Endpoint("a", model)])
    with deadline(1.0, now=clock.now):
        clock.advance(2.0)
        with pytest.raises(DeadlineExceeded, match="nobody was asked"):
            llm.invoke("hello")
        with pytest.raises(DeadlineExceeded):
            list(llm.stream("hello"))
    assert model.calls == 0
    assert llm.cluster.in_flight == 0


def test_it_reaches_through_chains_and_threads() -> None:
    llm = ClusteredLLM([Endpoint("a", left_to(None))], timeout=900.0)
    chain = RunnableLambda(lambda text: text) | llm
    with deadline(50.0):
        messages = chain.batch(["one", "two", "three"])
    assert all(40.0 < float(message.text) <= 50.0 for message in messages)


async def test_it_reaches_tools_that_ask_clusters_of_their_own() -> None:
    inner = ClusteredLLM([Endpoint("a", left_to(None))], timeout=900.0)

    @tool
    async def ask_expert(question: str) -> str:
        """Ask an expert."""
        return str((await inner.ainvoke(question)).content)

    call = {"name": "ask_expert", "args": {"question": "why?"}, "id": "1", "type": "tool_call"}
    with deadline(50.0):
        message = await ask_expert.ainvoke(call)
    assert 40.0 < float(message.content) <= 50.0


@pytest.mark.parametrize("face", ["invoke", "stream"])
def test_a_cluster_inside_a_cluster_has_the_time_of_the_attempt(face: str) -> None:
    inner = ClusteredLLM([Endpoint("a", left_to(None))], timeout=900.0)
    outer = ClusteredLLM([Endpoint("b", inner)], policy=Policy(timeout=100.0, attempt_timeout=50.0))
    if face == "invoke":
        text = str(outer.invoke("hello").text)
    else:
        text = "".join(chunk.text for chunk in outer.stream("hello"))
    assert 40.0 < float(text) <= 50.0


@pytest.mark.parametrize("face", ["ainvoke", "astream"])
async def test_an_awaited_cluster_inside_a_cluster_has_the_time_of_the_attempt(face: str) -> None:
    inner = ClusteredLLM([Endpoint("a", left_to(None))], timeout=900.0)
    outer = ClusteredLLM([Endpoint("b", inner)], policy=Policy(timeout=100.0, attempt_timeout=50.0))
    if face == "ainvoke":
        text = str((await outer.ainvoke("hello")).text)
    else:
        text = "".join([chunk.text async for chunk in outer.astream("hello")])
    assert 40.0 < float(text) <= 50.0
    assert bounded(Policy()).timeout == 60.0, "nothing is left behind"
