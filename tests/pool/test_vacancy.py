"""Waiting for a place: in line, told once, and nothing that became free meanwhile is missed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.runnables import RunnableConfig

from langchain_cluster import Capacity, ClusteredLLM, DeadlineExceeded, Endpoint, Outcome, Request
from langchain_cluster.pool.vacancy import Vacancies, Vacancy
from langchain_cluster.testing import FakeClock, ScriptedModel

A, B = Endpoint("a"), Endpoint("b")


def waiting(line: Vacancies, told: list[str], name: str, only: Endpoint | None = None) -> Vacancy:
    vacancy = line.since(line.freed, lambda endpoint: only is None or endpoint is only)
    vacancy.subscribe(lambda: told.append(name))
    return vacancy


def test_the_longest_waiting_is_told_first_and_once() -> None:
    line, told = Vacancies(), []
    for name in "abc":
        waiting(line, told, name)
    line.free(A)
    assert (told, len(line)) == (["a"], 2)
    line.free(A)
    line.free(A)
    line.free(A)
    assert (told, len(line)) == (["a", "b", "c"], 0)


def test_a_place_that_became_free_before_the_wait_is_not_missed() -> None:
    line, told = Vacancies(), []
    looked = line.freed
    line.free(A)
    line.since(looked).subscribe(lambda: told.append("at once"))
    assert (told, len(line)) == (["at once"], 0)


def test_who_leaves_the_line_is_not_told() -> None:
    line, told = Vacancies(), []
    vacancy = waiting(line, told, "a")
    waiting(line, told, "b")
    vacancy.unsubscribe(vacancy.tell)
    line.free(A)
    assert told == ["b"]


def test_only_who_can_use_a_place_is_told_of_it() -> None:
    line, told = Vacancies(), []
    for number, only in enumerate((A, A, B, None)):
        waiting(line, told, f"{number}", only)
    line.free(B)
    line.free(B)
    line.free(B)
    assert (told, len(line)) == (["2", "3"], 2)


def test_who_was_told_and_does_not_take_the_place_passes_it_on() -> None:
    line, told = Vacancies(), []
    vacancies = [waiting(line, told, name) for name in "abc"]
    line.free(A)
    vacancies[0].used(None)  # it has left
    assert told == ["a", "b"]
    vacancies[1].used(B)  # it was quicker elsewhere
    assert told == ["a", "b", "c"]
    vacancies[2].used(A)
    assert len(line) == 0


def limited(most: int, count: int = 2, **options: object) -> tuple[ClusteredLLM, list[ScriptedModel]]:
    models = [ScriptedModel("ok", delay=0.01) for _ in range(count)]
    capacity = Capacity(max_connections=most)
    endpoints = [Endpoint(f"e{n}", model, capacity=capacity) for n, model in enumerate(models)]
    return ClusteredLLM(endpoints, seed=1, **options), models


async def test_more_calls_than_places_wait_their_turn_in_tasks() -> None:
    llm, models = limited(2)
    answers = await asyncio.gather(*(llm.ainvoke(f"question {n}") for n in range(40)))
    assert len(answers) == 40 == sum(model.calls for model in models)
    assert len(llm.cluster.pool.vacancies) == 0


def test_more_calls_than_places_wait_their_turn_in_threads() -> None:
    llm, models = limited(2)
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: llm.invoke(f"question {n}"), range(40)))
    assert len(answers) == 40 == sum(model.calls for model in models)
    llm.cluster.close()


async def test_who_waits_too_long_is_told_so_at_the_deadline() -> None:
    llm, _ = limited(1, count=1)
    with llm.cluster.pool.acquire():  # somebody has the only place
        with pytest.raises(DeadlineExceeded, match="nobody was asked"):
            await llm.ainvoke("b", config={"configurable": {"cluster": {"timeout": 0.1}}})
        assert len(llm.cluster.pool.vacancies) == 0
    assert (await llm.ainvoke("b")).content == "ok"


async def test_a_place_is_not_lost_with_the_call_that_was_told_of_it() -> None:
    clock = FakeClock()  # it stands still: nobody looks again of himself
    llm, _ = limited(1, count=1, clock=clock)
    lease = llm.cluster.pool.acquire()
    told, next_one = [asyncio.create_task(llm.ainvoke(text)) for text in ("first", "second")]
    while len(llm.cluster.pool.vacancies) < 2:
        await asyncio.sleep(0)
    lease.settle(Outcome.ok(seconds=0.1))
    told.cancel()
    assert (await asyncio.wait_for(next_one, 5)).content == "ok"
    assert told.cancelled()


async def test_calls_for_a_busy_tier_do_not_hold_up_those_for_another() -> None:
    clock = FakeClock()
    place = Capacity(max_connections=1)
    endpoints = [Endpoint(tier, ScriptedModel(tier), tier=tier, capacity=place) for tier in ("slow", "quick")]
    llm = ClusteredLLM(endpoints, clock=clock)

    def asks(tier: str, number: int) -> asyncio.Task[object]:
        config: RunnableConfig = {"configurable": {"cluster": {"tier": tier}}}
        return asyncio.create_task(llm.ainvoke(f"question {number}", config=config))

    leases = [llm.cluster.pool.acquire(Request(tier=tier)) for tier in ("slow", "quick")]
    slow = [asks("slow", number) for number in range(5)]
    quick = [asks("quick", number) for number in range(20)]
    while len(llm.cluster.pool.vacancies) < 25:
        await asyncio.sleep(0)
    leases[1].settle(Outcome.ok(seconds=0.1))
    await asyncio.wait_for(asyncio.gather(*quick), 5)
    assert not any(task.done() for task in slow)
    leases[0].settle(Outcome.ok(seconds=0.1))
    await asyncio.wait_for(asyncio.gather(*slow), 5)
