"""When to ask again, and when no more: tenacity's wait and stop strategies, fed with our facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from tenacity import RetryCallState


@dataclass(slots=True)
class _Future:
    """What a wait strategy may look at of the last attempt."""

    error: BaseException | None
    failed: bool = True

    def exception(self) -> BaseException | None:
        return self.error

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return None


@dataclass(slots=True)
class _State:
    """The part of tenacity's `RetryCallState` that its strategies read."""

    attempt_number: int
    outcome: _Future
    seconds_since_start: float
    idle_for: float = 0.0
    upcoming_sleep: float = 0.0
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    fn: None = None


def pause(
    wait: Callable[[RetryCallState], float], *, attempt: int, error: BaseException | None, elapsed: float
) -> float:
    """Seconds to wait before attempt `attempt + 1`, by a tenacity strategy; never negative."""
    state = _State(attempt, _Future(error), elapsed)
    return max(0.0, float(wait(cast(RetryCallState, state))))


def stops(
    stop: Callable[[RetryCallState], bool],
    *,
    attempt: int,
    error: BaseException | None,
    elapsed: float,
    upcoming: float = 0.0,
) -> bool:
    """Whether there is to be no attempt after number `attempt`, by a tenacity strategy.

    `upcoming`: seconds that would be waited before it.
    """
    state = _State(attempt, _Future(error), elapsed, upcoming_sleep=upcoming)
    return bool(stop(cast(RetryCallState, state)))
