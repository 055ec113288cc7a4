"""Several calls at once: all results in order, or the first failure and no further call."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.drive.spread import aspread, spread
from langchain_cluster.drive.workers import Workers


def test_results_are_in_order_whoever_is_first() -> None:
    second_done = Event()

    def first() -> str:
        assert second_done.wait(10.0)
        return "first"

    def second() -> str:
        second_done.set()
        return "second"

    found = spread([first, second], at_once=2, workers=Workers(), clock=SystemClock())
    assert found == ["first", "second"]


def test_a_failure_is_raised_while_others_are_still_under_way() -> None:
    let_go, begun = Event(), Event()
    calls: list[int] = []

    def slow() -> None:
        begun.set()
        assert let_go.wait(10.0)

    def bad() -> None:
        assert begun.wait(10.0)
        raise OSError("no")

    workers = Workers()
    later = [lambda number=number: calls.append(number) for number in range(5)]
    with pytest.raises(OSError, match="no"):
        spread([slow, bad, *later], at_once=2, workers=workers, clock=SystemClock())
    let_go.set()
    assert calls == []


async def test_what_is_under_way_is_cancelled_when_one_fails() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60.0)
        finally:
            ended.append("slow")

    async def bad() -> None:
        await asyncio.sleep(0)
        raise OSError("no")

    async def never() -> None:
        ended.append("never")

    with pytest.raises(OSError, match="no"):
        await aspread([slow, bad, never], at_once=2)
    assert ended == ["slow"]


async def test_leaving_cancels_all_of_them() -> None:
    ended: list[int] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60.0)
        finally:
            ended.append(1)

    task = asyncio.create_task(aspread([slow] * 5, at_once=3))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1, 1, 1]


async def test_nothing_to_do_is_done_at_once() -> None:
    assert spread([], at_once=4, workers=Workers(), clock=SystemClock()) == []
    assert await aspread([], at_once=4) == []
