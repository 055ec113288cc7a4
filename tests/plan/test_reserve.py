"""What becomes of a lease when the limits that processes share are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest

from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Capacity, Endpoint
from langchain_cluster.model.policy import Policy
from langchain_cluster.model.scope import Away, Refused, Scope, Taken
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Reserve
from langchain_cluster.plan.reserve import reserve
from langchain_cluster.pool.members import Lease
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock


class Store:
    """Remembers what it was told; plans ask no store themselves."""

    longest = inf

    def __init__(self) -> None:
        self.told: list[float | None] = []

    def take(self, scopes: Sequence[Scope], tokens: float) -> Taken | Refused | Away:
        raise AssertionError

    async def atake(self, scopes: Sequence[Scope], tokens: float) -> Taken | Refused | Away:
        raise AssertionError

    def settle(self, taken: Taken, used: float) -> None:
        self.told.append(used)

    def cancel(self, taken: Taken) -> None:
        self.told.append(None)

    def close(self) -> None:
        raise AssertionError


def leased() -> tuple[FakeClock, Context, Lease]:
    clock = FakeClock()
    pool = Pool([Endpoint("a", capacity=Capacity(max_rpm=4))], clock=clock)
    cx = Context(pool, Policy(), clock.now, limits=Store())
    return clock, cx, pool.acquire(Request())


def test_whoever_leaves_while_it_asks_gives_the_lease_back() -> None:
    _, cx, lease = leased()
    plan = reserve(cx, lease, None)
    assert isinstance(next(plan), Reserve)
    plan.close()
    assert lease.settled


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError()])
def test_a_store_that_raises_fails_no_call(error: Exception) -> None:
    _, cx, lease = leased()
    plan = reserve(cx, lease, None)
    next(plan)
    with pytest.raises(StopIteration) as ended:
        plan.throw(error)
    assert ended.value.value is True
    assert not lease.settled


def test_a_call_whose_time_is_over_gives_the_lease_back() -> None:
    clock, cx, lease = leased()
    plan = reserve(cx, lease, clock.now() + 1.0)
    next(plan)
    clock.advance(1.0)
    with pytest.raises(StopIteration) as ended:
        plan.throw(TimeoutError())
    assert ended.value.value is False
    assert lease.settled


def test_a_lease_that_is_cancelled_later_is_cancelled_there_too() -> None:
    _, cx, lease = leased()
    plan = reserve(cx, lease, None)
    asked = next(plan)
    assert isinstance(asked, Reserve)
    with pytest.raises(StopIteration):
        plan.send(Taken(asked.scopes, 0, 1))
    lease.cancel()
    assert isinstance(cx.limits, Store)
    assert cx.limits.told == [None]


def test_where_nothing_is_shared_nobody_is_asked() -> None:
    _, cx, lease = leased()
    cx.limits = None
    with pytest.raises(StopIteration) as ended:
        next(reserve(cx, lease, None))
    assert ended.value.value is True
