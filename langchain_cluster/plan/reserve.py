"""Is there room in the limits that all processes share? Asked once an endpoint is leased, before it is.

A store that is away fails no call: each process then keeps to its part of every limit.
"""

from __future__ import annotations

from langchain_cluster.model.events import SharingLost, SharingRestored
from langchain_cluster.model.scope import Away, Refused, Taken
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan, Reserve
from langchain_cluster.pool.members import Lease
from langchain_cluster.ports import LimitStore


def reserve(cx: Context, lease: Lease, until: float | None) -> Plan[bool]:
    """Whether the lease may be used. If not it is cancelled, and its endpoint out of rate for a while."""
    store, mine = cx.limits, lease.reserved
    if store is None or mine is None:
        return True
    tokens = mine.prompt + mine.answer
    answer: Taken | Refused | Away
    try:
        answer = yield from Reserve(store, mine.scopes, tokens, until)
    except TimeoutError as error:
        if until is not None and cx.now() >= until:
            lease.cancel()
            return False  # the call's time is over, and whoever leases says so
        answer = Away(type(error).__name__, cx.pool.rates.parts)
    except Exception as error:
        answer = Away(type(error).__name__, cx.pool.rates.parts)
    except BaseException:
        lease.cancel()
        raise
    divided = cx.pool.rates.divide(answer.parts)
    now = cx.now()
    if isinstance(answer, Away):
        if cx.alone is not None and cx.alone.began(now):
            cx.emit(SharingLost(now, f"the limits per minute: {answer.error}"))
        if divided:
            lease.cancel(now=now)  # it was taken from the whole limit
        return not divided
    if cx.alone is not None and cx.alone.since is not None and (seconds := cx.alone.ended(now)) is not None:
        cx.emit(SharingRestored(now, seconds))
    if isinstance(answer, Taken):
        mine.ended = _settling(store, answer)
        return True
    # First out of rate, then given back: or the next in line would be given it, to find out for itself.
    amount = 1.0 if answer.window == "rpm" else tokens
    cx.pool.rates.used_up(answer.scope, answer.window, amount, now + answer.seconds)
    lease.cancel(now=now)
    return False


class _settling:
    """Tells the store how it ended."""

    __slots__ = ("store", "taken")

    def __init__(self, store: LimitStore, taken: Taken) -> None:
        self.store, self.taken = store, taken

    def __call__(self, used: float | None) -> None:
        if used is None:
            self.store.cancel(self.taken)
        else:
            self.store.settle(self.taken, used)
