"""A circuit breaker on the real time, for calls that no pool makes."""

from __future__ import annotations

from random import Random

from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.guard import breaker as guard
from langchain_cluster.guard.around import Counts
from langchain_cluster.guard.telling import Listener
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.ports import Now


class CircuitBreaker(guard.CircuitBreaker):
    """A circuit breaker around anything that may fail; the guard's, with defaults.

    As a decorator (`@breaker`) for functions, coroutines and generators of both kinds, or as a context
    manager (`with breaker:`, `async with breaker:`). Refused calls raise `CircuitOpen`.

    Args:
        policy: thresholds and times.
        clock: anything with `now()`, monotonic seconds.
        name: in events, errors and the repr.
        counts: which exceptions are failures: a class, several, or a predicate.
        on_change: told of every transition with a `BreakerChanged`, in order.
        rng: chance for the jitter of the open time.

    Raises:
        ConfigError: an argument is not what it should be.
    """

    __slots__ = ()

    def __init__(
        self,
        policy: BreakerPolicy = BreakerPolicy(),  # noqa: B008  (frozen)
        clock: Now = SystemClock(),  # noqa: B008  (without state)
        *,
        name: str = "",
        counts: Counts = Exception,
        on_change: Listener | None = None,
        rng: Random | None = None,
    ) -> None:
        super().__init__(policy, clock, name=name, counts=counts, on_change=on_change, rng=rng)
