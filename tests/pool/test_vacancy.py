"""Waiting for a place: in line, told once, and nothing that became free meanwhile is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from langchain_cluster import Capacity, ClusteredLLM, DeadlineExceeded, Endpoint
from langchain_cluster.pool.vacancy import Vacancies
from langchain_cluster.testing import ScriptedModel


def waiting(line: Vacancies, told: list[str], name: str) -> Callable[[], None]:
    def tell() -> None:
        told.append(name)

    line.since(line.freed).subscribe(tell)
    return tell


def test_the_longest_waiting_is_told_first_and_once() -> None:
    line, told = Vacancies(), []
    for name in "abc":
        waiting(line, told, name)
    line.free()
    assert (told, len(line)) == (["a"], 2)
    line.free()
    line.free()
    line.free()
    assert (told, len(line)) == (["a", "b", "c"], 0)


def test_a_place_that_became_free_before_the_wait_is_not_missed() -> None:
    line, told = Vacancies(), []
    looked = line.freed
    line.free()
    line.since(looked).subscribe(lambda: told.append("at once"))
    assert (told, len(line)) == (["at once"], 0)


def test_who_leaves_the_line_is_not_told() -> None:
    line, told = Vacancies(), []
    tell = waiting(line, told, "a")
    waiting(line, told, "b")
    line.since(0).unsubscribe(tell)
    line.free()
    assert told == ["b"]


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
