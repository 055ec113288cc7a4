"""A clock that stands still until a test moves it, for threads and for tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock, Thread
from time import monotonic, sleep

import pytest

from langchain_cluster.testing import FakeClock


def eventually(holds: Callable[[], bool], within: float = 5.0) -> None:
    until = monotonic() + within
    while not holds():
        assert monotonic() < until, "it never happened"
        sleep(0.001)


def test_it_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(100.0)
    assert clock.now() == clock.now() == 100.0
    clock.advance(2.5)
    assert clock.now() == 102.5
    clock.advance(-50.0)
    assert clock.now() == 52.5


def test_it_starts_somewhere_that_is_not_nought() -> None:
    assert FakeClock().now() > 0


def test_a_sleep_ends_when_the_time_has_moved_far_enough() -> None:
    clock, woken = FakeClock(0.0), []

    def rest() -> None:
        clock.sleep(5.0)
        woken.append(clock.now())

    thread = Thread(target=rest)
    thread.start()
    eventually(lambda: clock.slept == [5.0])
    clock.advance(4.9)
    thread.join(0.02)
    assert woken == []
    clock.advance(0.1)
    thread.join(5.0)
    assert woken == [5.0]


def test_with_auto_a_sleep_moves_the_time_itself() -> None:
    clock = FakeClock(0.0, auto=True)
    clock.sleep(3.0)
    clock.sleep(4.0)
    assert clock.now() == 7.0
    assert clock.slept == [3.0, 4.0]


async def test_with_auto_an_awaited_sleep_does_too() -> None:
    clock = FakeClock(0.0, auto=True)
    await clock.asleep(3.0)
    assert clock.now() == 3.0
    assert clock.slept == [3.0]


async def test_an_awaited_sleep_ends_when_the_time_has_moved_far_enough() -> None:
    clock = FakeClock(0.0)
    order: list[str] = []

    async def rest(name: str, seconds: float) -> None:
        await clock.asleep(seconds)
        order.append(name)

    tasks = [asyncio.create_task(rest("late", 2.0)), asyncio.create_task(rest("soon", 1.0))]
    await asyncio.sleep(0)
    assert clock.sleepers == 2
    clock.advance(1.0)
    await asyncio.sleep(0.001)
    assert (order, clock.sleepers) == (["soon"], 1)
    clock.advance(1.0)
    await asyncio.gather(*tasks)
    assert order == ["soon", "late"]
    assert clock.sleepers == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_sleeping_for_nothing_gives_way_once(seconds: float) -> None:
    clock, ran = FakeClock(), []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    await clock.asleep(seconds)
    assert ran == [1]


async def test_a_cancelled_sleep_leaves_no_alarm() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.asleep(10.0))
    await asyncio.sleep(0)
    assert clock.sleepers == 1
    assert repr(clock) == "<FakeClock at 1000 s, 1 waiting>"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0


def test_an_alarm_of_a_closed_loop_is_forgotten() -> None:
    clock = FakeClock()

    async def leave_one_behind() -> None:
        clock._set_alarm(clock.now() + 1.0, lambda: None)

    asyncio.run(leave_one_behind())
    clock.advance(5.0)
    assert clock.sleepers == 0


async def test_a_timeout_ends_its_block_when_the_time_has_come() -> None:
    clock = FakeClock(0.0)

    async def block() -> None:
        async with clock.timeout_at(5.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    clock.advance(4.9)
    await asyncio.sleep(0.001)
    assert not task.done()
    clock.advance(0.1)
    with pytest.raises(TimeoutError):
        await task
    assert clock.sleepers == 0


async def test_a_timeout_that_is_over_ends_its_block_at_once() -> None:
    clock = FakeClock(10.0)
    with pytest.raises(TimeoutError):
        async with clock.timeout_at(10.0):
            await asyncio.Event().wait()


async def test_a_block_that_ends_in_time_raises_nothing_and_leaves_no_alarm() -> None:
    clock = FakeClock(0.0)
    async with clock.timeout_at(5.0):
        assert clock.sleepers == 1
    assert clock.sleepers == 0
    async with clock.timeout_at(None):
        assert clock.sleepers == 0
    clock.advance(100.0)
    await asyncio.sleep(0)


async def test_a_ring_that_comes_after_its_block_was_left_rings_for_nobody() -> None:
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    clock = FakeClock(0.0)
    async with clock.timeout_at(5.0):
        clock.advance(10.0)  # told in the loop's next turn
    await asyncio.sleep(0)
    assert errors == []


async def test_an_error_inside_a_block_comes_out_as_it_is() -> None:
    clock = FakeClock(0.0)
    with pytest.raises(KeyError):
        async with clock.timeout_at(5.0):
            raise KeyError("mine")
    assert clock.sleepers == 0


def test_a_gate_that_opens_ends_a_wait() -> None:
    clock, gate = FakeClock(0.0), Lock()
    assert clock.wait(gate, 5.0)
    got: list[bool] = []
    thread = Thread(target=lambda: got.append(clock.wait(gate, None)))
    thread.start()
    gate.release()
    thread.join(5.0)
    assert got == [True]


def test_the_time_that_comes_ends_a_wait_too() -> None:
    clock, gate = FakeClock(0.0), Lock()
    gate.acquire()
    assert not clock.wait(gate, 0.0)
    got: list[bool] = []
    thread = Thread(target=lambda: got.append(clock.wait(gate, 5.0)))
    thread.start()
    clock.advance(4.0)
    thread.join(0.02)
    assert got == []
    clock.advance(1.0)
    thread.join(5.0)
    assert got == [False]


def test_the_time_of_day_moves_with_the_time_and_may_be_set() -> None:
    clock = FakeClock(5.0, wall=100.0)
    clock.advance(10.0)
    assert (clock.now(), clock.wall()) == (15.0, 110.0)
    clock.set_wall(50.0)
    clock.advance(1.0)
    assert (clock.now(), clock.wall()) == (16.0, 51.0)
