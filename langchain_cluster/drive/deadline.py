"""The time that is left to whoever asks, for every call made on their behalf.

It travels by context variable: through threads of ours, tasks, chains and tools. A call inside another
one, or inside a `with deadline(...)`, has no more time than that has left, whatever its own policy says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from langchain_cluster.errors import DeadlineExceeded
from langchain_cluster.model.policy import Policy
from langchain_cluster.model.strict import seconds_of

_Until = tuple[Callable[[], float], float]  # a clock, and when the time is over on it
_OUTER: ContextVar[_Until | None] = ContextVar("langchain_cluster_deadline", default=None)


class deadline:  # lower case, as it is used: `with deadline(10):`
    """All calls to any cluster inside the block, together, have this long.

    Works around async code too: `with deadline(20): await agent.ainvoke(...)`. Blocks nest; the
    nearest end counts. What is not a cluster's call is not interrupted.

    Args:
        seconds: a length of time, > 0, or a text such as "15s".
        now: the clock, monotonic seconds.

    Raises:
        ConfigError: no length of time.
    """

    def __init__(self, seconds: float | str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds_of(seconds, "deadline"), now
        self._scopes: list[Within] = []

    def __enter__(self) -> Self:
        scope = Within(self._now, self._now() + self._seconds)
        scope.__enter__()
        self._scopes.append(scope)
        return self

    def __exit__(self, *details: object) -> None:
        self._scopes.pop().__exit__(None, None, None)


class Within:
    """A block whose calls end by `until` on a clock; None leaves everything as it is."""

    __slots__ = ("_now", "_token", "_until")

    def __init__(self, now: Callable[[], float], until: float | None) -> None:
        self._now, self._until = now, until
        self._token: Token[_Until | None] | None = None

    def __enter__(self) -> None:
        if self._until is None:
            return
        outer = _OUTER.get()
        if outer is not None and outer[1] - outer[0]() <= self._until - self._now():
            return  # whoever is around us has less time still
        self._token = _OUTER.set((self._now, self._until))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _OUTER.reset(self._token)


def bounded(policy: Policy) -> Policy:
    """The policy, with no more time than is left around us. Raises DeadlineExceeded when none is."""
    outer = _OUTER.get()
    if outer is None:
        return policy
    now, until = outer
    left = until - now()
    if left <= 0.0:
        raise DeadlineExceeded(0.0, ())
    return policy if policy.timeout is not None and policy.timeout <= left else policy.within(left)
