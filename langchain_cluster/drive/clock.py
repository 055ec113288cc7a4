"""The real time. Monotonic: a wall clock that is set back must not reopen or extend anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from threading import Lock
from typing import Any


class SystemClock:
    """Monotonic seconds, real waiting, and the time of day for what goes by the calendar."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)
    asleep = staticmethod(asyncio.sleep)

    def wait(self, gate: Lock, until: float | None) -> bool:
        """Block until `gate` could be taken (True) or the time is `until` (False)."""
        if until is None:
            return gate.acquire()
        return gate.acquire(timeout=max(0.0, until - time.monotonic()))

    def timeout_at(self, until: float | None) -> AbstractAsyncContextManager[Any]:
        """An async block that raises `TimeoutError` when the time is `until`."""
        if until is None:
            return nullcontext()
        # A loop's clock need not be ours (uvloop's has another origin): go by the time left.
        loop = asyncio.get_running_loop()
        return asyncio.timeout_at(loop.time() + until - time.monotonic())

    def __repr__(self) -> str:
        return "SystemClock()"


def time_of_day(clock: Any) -> Callable[[], float]:
    """Seconds since 1970: by `clock`'s own `wall`, or by the system's where it has none."""
    wall: Callable[[], float] = getattr(clock, "wall", time.time)
    return wall
