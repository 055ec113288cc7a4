"""Identical calls in flight: who leads, who leaves, and on whose terms an error is shared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from langchain_cluster import (
    BudgetExceeded,
    Capacity,
    ClusteredLLM,
    DeadlineExceeded,
    Endpoint,
    Overloaded,
    Policy,
    Pool,
    QueuePolicy,
    Request,
    StreamInterrupted,
)
from langchain_cluster.guard.flights import Flights
from langchain_cluster.plan import lookup, times
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.lookup import lead
from langchain_cluster.testing import FakeClock, ScriptedModel


def cluster(*models: ScriptedModel) -> ClusteredLLM:
    endpoints = [Endpoint(f"e{n}", model, identity="m", priority=n) for n, model in enumerate(models)]
    return ClusteredLLM(endpoints, cache=True, seed=1)


def told(**settings: Any) -> Any:
    return {"configurable": {"cluster": settings}}


async def test_when_the_leader_leaves_one_of_the_others_leads() -> None:
    model = ScriptedModel("ok", delay=0.05)
    llm = cluster(model)
    leader = asyncio.create_task(llm.ainvoke("q"))
    await asyncio.sleep(0.01)
    followers = [asyncio.create_task(llm.ainvoke("q")) for _ in range(20)]
    await asyncio.sleep(0.01)
    leader.cancel()
    answers = await asyncio.gather(*followers)
    assert {answer.content for answer in answers} == {"ok"}
    assert model.calls == 2  # the leader's, and the one of whoever led next


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks after 20 ms whether the one it waits for goes on."""
    monkeypatch.setattr(times, "LONGEST_PATIENCE", 0.02)
    monkeypatch.setattr(lookup, "PAUSED", 0.2)


async def test_a_long_stream_is_waited_for_by_all_who_want_it(brief: None) -> None:
    model = ScriptedModel(["one", *[0.04, " more"] * 8, AIMessageChunk("", chunk_position="last")])
    llm = cluster(model)

    async def read() -> str:
        return "".join([chunk.text async for chunk in llm.astream("q")])

    told = await asyncio.gather(*(read() for _ in range(20)))
    assert set(told) == {"one" + " more" * 8}
    assert model.calls == 1


async def test_who_waits_for_a_stream_it_has_paused_itself_asks(brief: None) -> None:
    model = ScriptedModel("one two three")
    llm = cluster(model)
    paused = llm.astream("q")
    await anext(paused)
    answers = await asyncio.gather(*(llm.ainvoke("q") for _ in range(20)))
    assert {answer.text for answer in answers} == {"one two three"}
    assert model.calls == 2  # and not one for each of them
    assert "".join([chunk.text async for chunk in paused]) == " two three"


def test_a_thread_that_waits_for_a_stream_it_has_paused_itself_asks(brief: None) -> None:
    model = ScriptedModel("one two three")
    llm = cluster(model)
    paused = llm.stream("q")
    next(paused)
    assert llm.invoke("q").text == "one two three"
    assert model.calls == 2
    assert "".join(chunk.text for chunk in paused) == " two three"


async def test_an_error_is_not_shared_with_who_asks_on_other_terms() -> None:
    llm = cluster(ScriptedModel([0.05, ConnectionError("down")]), ScriptedModel("ok"))
    impatient = asyncio.create_task(llm.ainvoke("q", told(policy={"attempts": 1})))
    await asyncio.sleep(0.01)
    answer = await llm.ainvoke("q")
    assert answer.content == "ok"
    with pytest.raises(ConnectionError):
        await impatient


async def test_an_error_is_shared_by_who_asks_on_the_same_terms() -> None:
    model = ScriptedModel([0.05, ValueError("no")])
    llm = cluster(model)
    outcomes = await asyncio.gather(
        *(llm.ainvoke("q", told(policy={"attempts": 1})) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, ValueError) for outcome in outcomes)
    assert model.calls <= 5


async def test_who_may_only_be_answered_elsewhere_does_not_join() -> None:
    eu, us = ScriptedModel("eu", delay=0.03), ScriptedModel("us", delay=0.03)
    endpoints = [
        Endpoint("eu", eu, tags=frozenset({"eu"}), identity="m"),
        Endpoint("us", us, tags=frozenset({"us"}), identity="m"),
    ]
    llm = ClusteredLLM(endpoints, cache=True, seed=1)
    answers = await asyncio.gather(llm.ainvoke("q", told(tags=["eu"])), llm.ainvoke("q", told(tags=["us"])))
    assert [answer.content for answer in answers] == ["eu", "us"]


@pytest.mark.parametrize("streams", [False, True])
async def test_that_the_leader_is_shed_is_nothing_to_who_matters_more(*, streams: bool) -> None:
    busy = Endpoint("e", ScriptedModel("ok", delay=0.1), capacity=Capacity(max_connections=1))
    llm = ClusteredLLM([busy], cache=True, queue=QueuePolicy(size=1))

    async def ask(question: str, priority: str) -> str:
        if streams:
            return "".join([c.text async for c in llm.astream(question, told(priority=priority))])
        return (await llm.ainvoke(question, told(priority=priority))).text

    async def soon(question: str, priority: str) -> asyncio.Task[str]:
        task = asyncio.create_task(ask(question, priority))
        for _ in range(20):
            await asyncio.sleep(0)
        return task

    first = await soon("first", "normal")
    leader = await soon("same", "sheddable")
    follower = await soon("same", "critical")
    third = await soon("third", "normal")  # takes the place of the sheddable one
    with pytest.raises(Overloaded):
        await leader
    assert await follower == "ok"
    await first
    await asyncio.gather(third, return_exceptions=True)


@pytest.mark.parametrize(
    "error", [BudgetExceeded("agent a", limit=1.0, spent=1.0), Overloaded("full"), DeadlineExceeded(1.0)]
)
def test_what_only_the_leader_lacks_is_told_to_nobody_else(error: Exception) -> None:
    def ask(*_: Any) -> Any:
        raise error
        yield

    flights, policy = Flights(), Policy()
    clock = FakeClock()
    cx = Context(Pool([Endpoint("e")], clock=clock), policy, clock.now, flights=flights)
    flight, leads = flights.join("k", streaming=False, terms=policy)
    assert leads
    with pytest.raises(type(error)):
        next(lead(Request(), cx, clock.now(), ask, ask, "k", flight))
    assert (flight.abandoned, flight.error) == (True, None)


async def test_a_stream_that_broke_for_its_reader_breaks_for_nobody_else() -> None:
    broken = ScriptedModel(["one ", "two ", 0.1, ConnectionError("cut")], "whole")
    llm = cluster(broken)
    read: list[str] = []

    async def reader() -> None:
        async for chunk in llm.astream("q"):
            read.append(chunk.text)

    leader = asyncio.create_task(reader())
    while not read:
        await asyncio.sleep(0.001)
    follower = asyncio.create_task(llm.ainvoke("q"))
    with pytest.raises(StreamInterrupted):
        await leader
    assert (await follower).content == "whole"
