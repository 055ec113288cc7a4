"""Attempts under way that have delivered nothing, and how each is called back to be made elsewhere.

A driver holds every attempt here until its answer, or its first token, is in. Calling back never waits:
it wakes whoever waits for the attempt. What a blocked thread was doing goes on until the provider's
client returns, and nobody listens to it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from langchain_cluster.model.call import Attempt, Outcome, Verdict

MayMove = Callable[[Attempt, float], bool]
"""(attempt, when it began) -> whether it would be answered elsewhere."""


class Recalled(Exception):
    """The attempt was called back; its text says why."""


def moved(reason: str, seconds: float) -> Outcome:
    """The outcome of an attempt that was called back: nobody is blamed, and the call goes on elsewhere."""
    return Outcome(Verdict.ABANDONED, seconds, reason=f"moved elsewhere: {reason}", recalled=True)


class Recalls:
    """Who can be called back now. One for all drivers of a cluster."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Attempt, float, Callable[[str], None]]] = {}

    def hold(self, attempt: Attempt, started: float, stop: Callable[[str], None]) -> None:
        """From now on `stop(reason)` calls the attempt back, from any thread."""
        self._held[id(attempt)] = (attempt, started, stop)

    def drop(self, attempt: Attempt) -> None:
        """It has its answer, or its first token, or has failed."""
        self._held.pop(id(attempt), None)

    def stop(self, attempt: Attempt, reason: str) -> None:
        """Call back this one, if it still waits."""
        held = self._held.get(id(attempt))
        if held is not None:
            held[2](reason)

    def recall(self, endpoint: str, reason: str, may_move: MayMove) -> int:
        """Call back what waits for an endpoint and would be answered elsewhere; how many that is."""
        calls = 0
        for attempt, started, stop in reversed(list(self._held.values())):  # the latest have lost least
            if attempt.endpoint.id != endpoint or not may_move(attempt, started):
                continue
            if self._held.pop(id(attempt), None) is not None:  # nobody is called back twice
                stop(reason)
                calls += 1
        return calls


class TaskRecall:
    """Calls back what the current task awaits, as `asyncio.timeout` does: a cancel, and its undoing."""

    __slots__ = ("_before", "_cancelled", "_loop", "_over", "_task", "reason")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # a driver is awaited
        self._task, self._loop = task, task.get_loop()
        self._before = task.cancelling()
        self._cancelled = self._over = False
        self.reason = ""

    def __call__(self, reason: str) -> None:
        """Call back; from any thread."""
        self.reason = reason
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            pass  # the loop is closed, and the task with it

    def _cancel(self) -> None:
        if not self._over:
            self._cancelled = True
            self._task.cancel()

    def caught(self) -> bool:
        """Whether a CancelledError was ours alone; then the task is as it was."""
        if not self._cancelled:
            return False
        self._cancelled = False
        return self._task.uncancel() <= self._before

    def heed(self) -> None:
        """Raise a CancelledError that the endpoint's client has swallowed.

        anyio under httpx does so, now and then, when a call is cancelled in the moment its connection stands.
        """
        if self._task.cancelling() > self._before + self._cancelled:
            raise asyncio.CancelledError

    def over(self) -> None:
        """What it could call back has ended."""
        self._over = True
        if self._cancelled:  # and was swallowed by a client: the task is not to be cancelled later
            self._task.uncancel()
