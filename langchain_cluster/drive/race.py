"""Attempts that run beside the plan that began them: one on a worker thread, one as a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from threading import Lock
from typing import Any

from langchain_cluster.drive.recall import Recalls
from langchain_cluster.drive.workers import Workers
from langchain_cluster.model.call import Attempt, Outcome
from langchain_cluster.plan.effects import Started


class _Told:
    """Tells whoever waits once the outcome is there."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Callable[[], None]] = []
        self.outcome: Outcome | None = None

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the outcome is there, at once if it is."""
        with self._lock:
            if self.outcome is None:
                self._waiting.append(tell)
                return
        tell()

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited has left."""
        with self._lock:
            if tell in self._waiting:
                self._waiting.remove(tell)

    def _end(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcome = outcome
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()


class BegunJob(_Told):
    """An attempt on a worker thread. Dropped, its thread goes on until the provider's client returns."""

    def __init__(
        self, attempt: Attempt, make: Callable[[], Outcome], workers: Workers, recalls: Recalls
    ) -> None:
        super().__init__()
        self._attempt, self._make, self._recalls = attempt, make, recalls
        self._dropped = False
        workers.start(self._run)

    def _run(self) -> None:
        try:
            outcome = self._make()
        except BaseException as error:
            outcome = Outcome.failed(error)
        self._end(outcome)
        if self._dropped:
            self._close(outcome)

    def drop(self) -> None:
        """Nobody wants its answer any more."""
        self._dropped = True
        self._recalls.stop(self._attempt, "another attempt was quicker")
        if self.outcome is not None:
            self._close(self.outcome)

    @staticmethod
    def _close(outcome: Outcome) -> None:
        if isinstance(outcome.value, Started):
            started = outcome.value
            if started.rest is not None:
                started.rest.close()
            if started.span is not None:
                started.span.end(Outcome.abandoned())


class BegunTask(_Told):
    """An attempt as a task of its own. Dropped, it is cancelled."""

    def __init__(self, make: Coroutine[Any, Any, Outcome]) -> None:
        super().__init__()
        self._dropped = False
        self._task = asyncio.get_running_loop().create_task(make, name="langchain-cluster-attempt")
        self._closing: asyncio.Task[None] | None = None
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        if task.cancelled():
            outcome = Outcome.abandoned()
        else:
            error = task.exception()
            outcome = task.result() if error is None else Outcome.failed(error)
        if self._dropped:
            self._close(outcome)
        self._end(outcome)

    def drop(self) -> None:
        """Nobody wants its answer any more."""
        self._dropped = True
        if not self._task.cancel() and self.outcome is not None:
            self._close(self.outcome)

    def _close(self, outcome: Outcome) -> None:
        if not isinstance(outcome.value, Started) or self._closing is not None:
            return
        started = outcome.value
        if started.span is not None:
            started.span.end(Outcome.abandoned())
        close = getattr(started.rest, "aclose", None)
        if close is not None:
            self._closing = self._task.get_loop().create_task(_quietly(close()))


async def _quietly(closing: Coroutine[Any, Any, None]) -> None:
    try:
        await closing
    except Exception:
        pass  # whatever the endpoint's client says on closing, nobody waits for this stream
