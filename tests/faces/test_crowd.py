"""Calls that a 429 sent to wait come back apart, and those that matter more before the others."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_cluster import ClusteredLLM, Endpoint, Outcome, Policy
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face, at_rest, text_of


def how(priority: str) -> dict[str, Any]:
    return {"configurable": {"cluster": {"priority": priority}}}


def cooling(clock: FakeClock, seconds: float = 5.0) -> tuple[ClusteredLLM, list[tuple[float, str]]]:
    """A cluster whose endpoint asked to be left alone, and (when, what) it is asked after that."""
    asked: list[tuple[float, str]] = []

    def answer(messages: Any) -> str:
        asked.append((clock.now(), messages[-1].content))
        return "fine"

    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel(answer))], clock=clock, policy=Policy(timeout=60.0), seed=3
    )
    llm.cluster.pool.acquire().settle(Outcome.throttled(retry_after=seconds))
    return llm, asked


def test_a_call_that_waits_alone_comes_back_when_it_was_asked_to(plain_face: Face) -> None:
    clock = FakeClock(auto=True)
    llm, asked = cooling(clock)
    assert text_of(plain_face.ask(llm, "hello")) == "fine"
    assert asked == [(1005.0, "hello")]


async def come_back(priorities: list[str], *, streams: bool) -> tuple[list[tuple[float, str]], ClusteredLLM]:
    clock = FakeClock()
    llm, asked = cooling(clock)

    async def ask(priority: str) -> None:
        if streams:
            assert "".join([c.text async for c in llm.astream(priority, how(priority))]) == "fine"
        else:
            assert (await llm.ainvoke(priority, how(priority))).text == "fine"

    tasks = [asyncio.create_task(ask(priority)) for priority in priorities]
    while clock.sleepers < len(tasks):
        await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        clock.advance(0.01)
        for _ in range(20):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return asked, llm


async def test_a_crowd_comes_back_by_priority_and_not_at_once() -> None:
    for streams in (False, True):
        asked, llm = await come_back(["sheddable", "normal", "critical"] * 20, streams=streams)
        assert [what for _, what in asked] == ["critical"] * 20 + ["normal"] * 20 + ["sheddable"] * 20
        times = [when for when, _ in asked]
        assert min(times) >= 1005.0, "not before it was allowed"
        assert max(times) < 1006.0
        most = max(times.count(when) for when in times)
        assert most <= 20, "not all in one instant"
        assert len(set(times[:20])) > 8
        assert at_rest(llm)
        assert len(llm.cluster._crowd) == 0


async def test_a_crowd_keeps_to_its_deadlines() -> None:
    clock = FakeClock()
    llm, _ = cooling(clock)
    late = [llm.ainvoke("hello", {"configurable": {"cluster": {"timeout": 5.01}}}) for _ in range(20)]
    tasks = [asyncio.create_task(call) for call in late]
    while clock.sleepers < len(tasks):
        await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        clock.advance(0.001)
        for _ in range(20):
            await asyncio.sleep(0)
    assert [task.result().text for task in tasks] == ["fine"] * 20
