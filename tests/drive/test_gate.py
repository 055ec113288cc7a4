"""A gate opens for threads and tasks alike, and each waits no longer than it has."""

from __future__ import annotations

import asyncio
import threading

from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.drive.gate import Gate
from langchain_cluster.testing import FakeClock


def test_who_comes_when_it_is_open_does_not_wait() -> None:
    gate = Gate()
    gate.open()
    assert gate.wait(SystemClock(), 0.0)
    assert repr(gate) == "<Gate open, 0 wait>"


def test_a_thread_waits_until_it_opens() -> None:
    gate, answers = Gate(), list[bool]()
    thread = threading.Thread(target=lambda: answers.append(gate.wait(SystemClock(), None)))
    thread.start()
    while "1 wait" not in repr(gate):
        pass
    gate.open()
    thread.join(20)
    assert answers == [True]


async def test_a_thousand_tasks_wait_without_a_thread_each() -> None:
    gate, threads = Gate(), threading.active_count()
    waiting = [asyncio.create_task(gate.await_(SystemClock(), None)) for _ in range(1000)]
    await asyncio.sleep(0)
    assert repr(gate) == "<Gate closed, 1000 wait>"
    assert threading.active_count() <= threads, "others may have ended meanwhile"
    gate.open()
    assert all(await asyncio.gather(*waiting))


async def test_the_time_is_over_for_each_by_itself() -> None:
    gate, clock = Gate(), FakeClock()
    soon = asyncio.create_task(gate.await_(clock, clock.now() + 1.0))
    late = asyncio.create_task(gate.await_(clock, clock.now() + 9.0))
    await asyncio.sleep(0)
    clock.advance(2.0)
    assert await soon is False
    assert not late.done()
    assert gate.wait(clock, clock.now()) is False
    gate.open()
    assert await late is True
    assert repr(gate) == "<Gate open, 0 wait>"


async def test_who_is_cancelled_waits_no_more() -> None:
    gate = Gate()
    waiting = asyncio.create_task(gate.await_(SystemClock(), None))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert repr(gate) == "<Gate closed, 0 wait>"
