"""Several calls at once: all of their results, in order, or the first failure, and then no further call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from threading import Lock
from typing import Any, TypeVar

from langchain_cluster.drive.workers import Workers
from langchain_cluster.ports import Clock

T = TypeVar("T")


def spread(calls: Sequence[Callable[[], T]], *, at_once: int, workers: Workers, clock: Clock) -> list[T]:
    """Do `calls`, at most `at_once` at a time, on threads of ours.

    The first failure is raised at once. Calls that have begun cannot be stopped in their threads: they
    end within their own limits, and nobody looks at their results.
    """
    return _Spread(calls).run(min(at_once, len(calls)), workers, clock)


class _Spread:
    def __init__(self, calls: Sequence[Callable[[], Any]]) -> None:
        self._calls = calls
        self._results: list[Any] = [None] * len(calls)
        self._left = iter(range(len(calls)))
        self._missing = len(calls)
        self._failure: BaseException | None = None
        self._over = False
        self._lock, self._gate = Lock(), Lock()
        self._gate.acquire()

    def run(self, threads: int, workers: Workers, clock: Clock) -> list[Any]:
        try:
            for _ in range(threads):
                workers.start(self._work)
            if self._calls:  # else nobody would open the gate
                clock.wait(self._gate, None)
        finally:
            self._over = True  # also when the caller is interrupted
        if self._failure is not None:
            raise self._failure
        return self._results

    def _work(self) -> None:
        while True:
            with self._lock:
                place = None if self._over else next(self._left, None)
            if place is None:
                return
            failure: BaseException | None = None
            try:
                self._results[place] = self._calls[place]()
            except BaseException as error:
                failure = error
            with self._lock:
                self._missing -= 1
                if not self._over and (failure is not None or not self._missing):
                    self._over, self._failure = True, failure
                    self._gate.release()


async def aspread(calls: Sequence[Callable[[], Awaitable[T]]], *, at_once: int) -> list[T]:
    """The asyncio twin of `spread`; what has begun when one fails is cancelled and waited for."""
    results: list[Any] = [None] * len(calls)
    left = iter(range(len(calls)))

    async def work() -> None:
        for place in left:
            results[place] = await calls[place]()

    tasks = [asyncio.create_task(work()) for _ in range(min(at_once, len(calls)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return results
