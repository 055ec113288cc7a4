"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from threading import Condition, Lock
from typing import Any


class FakeClock:
    """Time by hand.

    Sleeps and timeouts, blocking and awaited, end when somebody calls `advance` far enough. With
    `auto=True` a sleep advances the clock itself, so a single-threaded test never blocks.

    Args:
        start: the time it shows at first, seconds.
        auto: whether sleeping moves the time.
        wall: the time of day it shows at first, seconds since 1970; the first of January 2026, midnight UTC.
    """

    def __init__(self, start: float = 1000.0, *, auto: bool = False, wall: float = 1_767_225_600.0) -> None:
        self._now = start
        self._ahead = wall - start
        self._auto = auto
        self._moved = Condition()
        self._alarms: list[tuple[float, asyncio.AbstractEventLoop, Any]] = []
        self.slept: list[float] = []

    def now(self) -> float:
        """The time, seconds."""
        return self._now

    def wall(self) -> float:
        """The time of day, seconds since 1970; it moves with the time."""
        return self._now + self._ahead

    def set_wall(self, seconds: float) -> None:
        """Set the time of day, ahead or back; the time itself goes on as before."""
        self._ahead = seconds - self._now

    def advance(self, seconds: float) -> None:
        """Move the time on and wake whoever that is enough for."""
        with self._moved:
            self._now += seconds
            due = [alarm for alarm in self._alarms if alarm[0] <= self._now]
            self._alarms = [alarm for alarm in self._alarms if alarm[0] > self._now]
            self._moved.notify_all()
        for _, loop, ring in due:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ring)

    @property
    def sleepers(self) -> int:
        """How many awaited sleeps and timeouts wait for the time to move."""
        return len(self._alarms)

    def sleep(self, seconds: float) -> None:
        """Block until the time has moved on by `seconds`."""
        self.slept.append(seconds)
        if self._auto:
            self.advance(seconds)
            return
        until = self._now + seconds
        with self._moved:
            self._moved.wait_for(lambda: self._now >= until)

    async def asleep(self, seconds: float) -> None:
        """Suspend the task until the time has moved on by `seconds`."""
        self.slept.append(seconds)
        if self._auto:
            self.advance(seconds)
            await asyncio.sleep(0)
            return
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done = asyncio.Event()
        alarm = self._set_alarm(self._now + seconds, done.set)
        try:
            await done.wait()
        finally:
            self._drop_alarm(alarm)

    def wait(self, gate: Lock, until: float | None) -> bool:
        """Block until `gate` could be taken (True) or the time is `until` (False)."""
        while not gate.acquire(timeout=0.002):  # opened by somebody who does not know this clock
            if until is not None and self._now >= until:
                return False
        return True

    def timeout_at(self, until: float | None) -> _Timeout:
        """An async block that raises `TimeoutError` when the time is `until`."""
        return _Timeout(self, until)

    def _set_alarm(self, until: float, ring: Any) -> Any:
        alarm = (until, asyncio.get_running_loop(), ring)
        with self._moved:
            self._alarms.append(alarm)
        return alarm

    def _drop_alarm(self, alarm: Any) -> None:
        with self._moved:
            if alarm in self._alarms:
                self._alarms.remove(alarm)

    def __repr__(self) -> str:
        return f"<FakeClock at {self._now:g} s, {len(self._alarms)} waiting>"


class _Timeout:
    """`asyncio.timeout`, rung by hand."""

    def __init__(self, clock: FakeClock, until: float | None) -> None:
        self._clock, self._until = clock, until
        self._alarm: Any = None

    async def __aenter__(self) -> _Timeout:
        loop = asyncio.get_running_loop()
        self._inner = asyncio.timeout(None)
        await self._inner.__aenter__()
        if self._until is not None:
            if self._until <= self._clock.now():
                self._inner.reschedule(loop.time())
            else:
                self._alarm = self._clock._set_alarm(self._until, self._ring)
        return self

    def _ring(self) -> None:
        if self._alarm is not None:  # else the block was left while the ring was on its way
            self._inner.reschedule(asyncio.get_running_loop().time())

    async def __aexit__(self, *details: Any) -> None:
        if self._alarm is not None:
            self._clock._drop_alarm(self._alarm)
            self._alarm = None
        await self._inner.__aexit__(*details)
