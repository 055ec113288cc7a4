"""Exactly as many calls as there are probes reach what is half open, a hundred times over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Barrier, Event, Lock, Thread

import pytest

from langchain_cluster import BreakerPolicy, CircuitBreaker, CircuitOpen, Endpoint, Outcome, Pool
from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.pool.members import Lease
from langchain_cluster.testing import FakeClock

ROUNDS, THREADS, TASKS = 100, 100, 1000
WITHIN = 60.0  # seconds of real time, on a busy machine
PROBES = pytest.mark.parametrize("probes", [1, 3])


def policy(probes: int) -> BreakerPolicy:
    return BreakerPolicy(consecutive_failures=1, half_open_probes=probes, open_for=1.0, max_open=1.0)


class Rounds:
    """The same hundred threads, over and over: they begin together, and none leaves before all have tried."""

    def __init__(self) -> None:
        self.begin, self.tried = Barrier(THREADS + 1), Barrier(THREADS + 1)
        self.errors: list[BaseException] = []

    def run(self, knock: Callable[[], None], before: Callable[[], None], after: Callable[[], None]) -> None:
        def loop() -> None:
            try:
                for _ in range(ROUNDS):
                    self.begin.wait(WITHIN)
                    knock()
                    self.tried.wait(WITHIN)
            except BaseException as error:
                self.errors.append(error)
                self.begin.abort()
                self.tried.abort()

        threads = [Thread(target=loop) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(ROUNDS):
                before()
                self.begin.wait(WITHIN)
                self.tried.wait(WITHIN)
                after()
        finally:
            self.begin.abort()
            for thread in threads:
                thread.join(WITHIN)
        assert self.errors == []


@PROBES
def test_of_a_hundred_threads_around_a_function(probes: int) -> None:
    clock, lock = FakeClock(), Lock()
    breaker = CircuitBreaker(policy(probes), clock)
    well, asked, refused = False, 0, 0
    all_tried = Event()

    @breaker
    def backend() -> None:
        nonlocal asked
        if not well:
            raise ConnectionError("down")
        with lock:
            asked += 1
        assert all_tried.wait(WITHIN)  # a probe that has ended makes room for the next

    def knock() -> None:
        nonlocal refused
        try:
            backend()
        except CircuitOpen:
            with lock:
                refused += 1
                if refused == THREADS - probes:
                    all_tried.set()

    def before() -> None:
        nonlocal well, asked, refused
        well, asked, refused = False, 0, 0
        all_tried.clear()
        with suppress(ConnectionError):
            backend()
        assert breaker.state is BreakerState.OPEN
        clock.advance(2.0)
        well = True

    def after() -> None:
        assert (asked, refused) == (probes, THREADS - probes)
        assert breaker.state is BreakerState.CLOSED

    Rounds().run(knock, before, after)


@PROBES
async def test_of_a_thousand_tasks_around_a_coroutine(probes: int) -> None:
    clock = FakeClock()
    breaker = CircuitBreaker(policy(probes), clock)
    well, asked = False, 0
    all_tried = asyncio.Event()

    @breaker
    async def backend() -> None:
        nonlocal asked
        if not well:
            raise ConnectionError("down")
        asked += 1
        async with asyncio.timeout(WITHIN):
            await all_tried.wait()

    for _ in range(ROUNDS):
        well, asked, refused = False, 0, 0
        all_tried.clear()
        with suppress(ConnectionError):
            await backend()
        clock.advance(2.0)
        well = True

        async def knock() -> None:
            nonlocal refused
            try:
                await backend()
            except CircuitOpen:
                refused += 1
                if refused == TASKS - probes:
                    all_tried.set()

        await asyncio.gather(*(knock() for _ in range(TASKS)))
        assert (asked, refused) == (probes, TASKS - probes)
        assert breaker.state is BreakerState.CLOSED


def due(pool: Pool, clock: FakeClock) -> None:
    """The one endpoint has failed, and is due for its probes."""
    pool.acquire().settle(Outcome.failed("down"))
    assert pool.snapshot.members[0].breaker_state is BreakerState.OPEN
    clock.advance(2.0)


@PROBES
def test_of_a_hundred_threads_that_lease_from_a_pool(probes: int) -> None:
    clock, lock = FakeClock(), Lock()
    pool = Pool([Endpoint("a")], breaker=policy(probes), clock=clock)
    leases: list[Lease] = []
    refused = 0

    def knock() -> None:
        nonlocal refused
        try:
            lease = pool.acquire()
        except NoEndpointAvailable:
            with lock:
                refused += 1
        else:
            leases.append(lease)

    def before() -> None:
        nonlocal refused
        leases.clear()
        refused = 0
        due(pool, clock)

    def after() -> None:
        assert (len(leases), refused) == (probes, THREADS - probes)
        for lease in leases:
            lease.settle(Outcome.ok(seconds=0.1))
        assert pool.snapshot.members[0].breaker_state is BreakerState.CLOSED

    Rounds().run(knock, before, after)
