"""A timeout on an event loop that others may hold up: what has come meanwhile is taken before it strikes.

asyncio runs a timer that is late before whoever waits for what came in time, and redis-py's own timeouts are
such timers: calls that begin together would take a server for away which had answered long ago. Here a late
timer gives back, once, the time by which it was late, and lets the loop go round a few times more. So a
server that hangs costs one timeout and no second question, however busy the loop is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_cluster.extras import need

T = TypeVar("T")

ROUNDS = 3  # of the loop: a reply is read in one, and whoever waits for it goes on in the next


class After:
    """Calls `then` so many seconds after now, once the loop has gone round after that; not after `stop`."""

    __slots__ = ("_handle", "_loop", "_then")

    def __init__(self, seconds: float, then: Callable[[], object]) -> None:
        self._loop, self._then = asyncio.get_running_loop(), then
        self._handle: asyncio.Handle = self._loop.call_later(seconds, self.go_round, ROUNDS)

    def go_round(self, rounds: int) -> None:
        if rounds:
            self._handle = self._loop.call_soon(self.go_round, rounds - 1)
        else:
            self._then()

    def stop(self) -> None:
        """It is not to be called any more."""
        self._handle.cancel()


class _Strike:
    """Ends a timeout when its time is over."""

    __slots__ = ("_due", "_limit", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float, limit: asyncio.Timeout) -> None:
        self._loop, self._limit, self._seconds = asyncio.get_running_loop(), limit, seconds
        self._due = self._loop.time() + seconds
        self._timer: asyncio.Handle | After = self._loop.call_at(self._due, self._strike)

    def _strike(self) -> None:
        late = self._loop.time() - self._due
        self._timer = After(min(late, self._seconds), self._end)

    def _end(self) -> None:
        self._limit.reschedule(self._loop.time())

    def stop(self) -> None:
        self._timer.cancel() if isinstance(self._timer, asyncio.Handle) else self._timer.stop()


async def within(seconds: float | None, doing: Awaitable[T]) -> T:
    """What `doing` comes to. Raises TimeoutError when that takes longer than `seconds` of the loop's time."""
    if seconds is None:
        return await doing
    async with asyncio.timeout(None) as limit:
        strike = _Strike(seconds, limit)
        try:
            return await doing
        finally:
            strike.stop()


_patient: dict[type, type] = {}


def patient(connection: type) -> type:
    """A class of redis-py's asyncio connections with its timeouts as they are meant here."""
    if connection not in _patient:
        _patient[connection] = _made_patient(connection)
    return _patient[connection]


def _made_patient(connection: Any) -> type:
    late = need("redis.exceptions", extra="redis", for_="RedisCache").TimeoutError

    class Patient(connection):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            self._connect_within = options.pop("socket_connect_timeout", None)
            self._reply_within = options.pop("socket_timeout", None)
            super().__init__(**options, socket_connect_timeout=None, socket_timeout=None)

        async def _connect(self) -> None:
            await within(self._connect_within, super()._connect())

        async def send_packed_command(self, *given: Any, **how: Any) -> None:
            if not self.is_connected:
                await self.connect()
            try:
                await within(self._reply_within, super().send_packed_command(*given, **how))
            except TimeoutError:
                raise late("Timeout writing to socket") from None

        async def read_response(self, *given: Any, **how: Any) -> Any:
            try:
                return await within(self._reply_within, super().read_response(*given, **how))
            except TimeoutError:
                raise late(f"Timeout reading from {self._host_error()}") from None

    Patient.__name__ = Patient.__qualname__ = connection.__name__
    return Patient
