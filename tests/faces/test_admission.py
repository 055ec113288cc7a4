"""Limits, waiting and shedding through every face."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from langchain_cluster import (
    Capacity,
    ClusteredLLM,
    Endpoint,
    Outcome,
    Overloaded,
    Policy,
    QueuePolicy,
    Quota,
)
from langchain_cluster.model.events import CallDequeued, CallQueued, CallShed, Event
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face

ONE = Capacity(max_connections=1)


def test_a_quota_that_is_used_up_is_an_overload_that_says_for_how_long(face: Face) -> None:
    clock = FakeClock()
    models = [ScriptedModel("fine"), ScriptedModel("fine")]
    endpoints = [Endpoint(f"e{n}", model, quota_group="g") for n, model in enumerate(models)]
    llm = ClusteredLLM(endpoints, quotas={"g": Quota(max_rpm=3)}, policy=Policy(timeout=5.0), clock=clock)
    for number in range(3):
        assert face.ask(llm, f"question {number}").content == "fine"
    clock.advance(10.0)
    with pytest.raises(Overloaded) as caught:
        face.ask(llm, "one more")
    assert caught.value.retry_after == pytest.approx(50.0)
    assert sum(model.calls for model in models) == 3
    clock.advance(50.0)
    assert face.ask(llm, "one more").content == "fine"


def test_tokens_a_minute_are_estimated_from_the_messages_and_settled(face: Face) -> None:
    clock = FakeClock()
    model = ScriptedModel("word " * 10)
    endpoint = Endpoint("a", model, capacity=Capacity(max_tpm=1000))
    llm = ClusteredLLM([endpoint], policy=Policy(timeout=5.0), clock=clock)
    face.ask(llm, "x" * 600, max_tokens=100)
    (member,) = llm.cluster.pool
    assert member.limits(clock.now())["tpm_used"] <= 250
    with pytest.raises(Overloaded):
        face.ask(llm, "x" * 600, max_tokens=900)
    assert model.calls == 1


def test_a_full_line_refuses_at_once(face: Face) -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("fine"), capacity=ONE)], queue=QueuePolicy(size=0))
    heard: list[Event] = []
    llm.cluster.events.subscribe(heard.append)
    with llm.cluster.pool.acquire(), pytest.raises(Overloaded, match="come again in"):
        face.ask(llm, "hello")
    assert [type(event) for event in heard if isinstance(event, CallQueued | CallShed)] == [CallShed]
    assert face.ask(llm, "hello").content == "fine"


def test_the_time_in_line_is_in_the_answer(face: Face) -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("fine"), capacity=ONE)])
    heard: list[Event] = []
    lease = llm.cluster.pool.acquire()

    def listen(event: Any) -> None:
        heard.append(event)
        if isinstance(event, CallQueued):  # told by whoever is about to wait
            threading.Timer(0.01, lambda: lease.settle(Outcome.ok(seconds=0.1))).start()

    llm.cluster.events.subscribe(listen)
    message = face.ask(llm, "hello")
    assert message.response_metadata["cluster"]["queue_seconds"] > 0
    assert sum(isinstance(event, CallDequeued) for event in heard) == 1
    assert llm.cluster.stats()["queue"] == {"waiting": 0, "size": 10_000, "waited": 1, "shed": 0}


async def test_threads_and_tasks_stand_in_one_line_by_priority() -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("fine"), capacity=ONE)], clock=FakeClock())
    order: list[str] = []
    lease = llm.cluster.pool.acquire()

    def config(priority: str) -> Any:
        return {"configurable": {"cluster": {"priority": priority}}}

    async def awaited(priority: str) -> None:
        await llm.ainvoke("hello", config(priority))
        order.append(priority)

    def blocking(priority: str) -> None:
        llm.invoke("hello", config(priority))
        order.append(priority)

    tasks = []
    for priority in ("sheddable", "normal"):
        tasks.append(asyncio.create_task(awaited(priority)))
    tasks.append(asyncio.create_task(asyncio.to_thread(blocking, "critical")))
    while llm.cluster.pool.line.waiting < 3:
        await asyncio.sleep(0.001)
    lease.settle(Outcome.ok(seconds=0.1))
    await asyncio.gather(*tasks)
    assert order[-1] == "sheddable"
    assert set(order[:2]) == {"critical", "normal"}


async def test_a_cancelled_call_leaves_the_line_at_once() -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("fine"), capacity=ONE)], queue=QueuePolicy(size=1))
    with llm.cluster.pool.acquire():
        waiting = asyncio.create_task(llm.ainvoke("hello"))
        while not llm.cluster.pool.line.waiting:
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert llm.cluster.pool.line.waiting == 0
    assert (await llm.ainvoke("hello")).content == "fine"
