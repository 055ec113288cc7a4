"""Asks a Redis, behind circuit breakers of its own: one that is away costs one timeout now and then.

Of a cluster each master has its breaker, for what only concerns that one: while it is away the others'
entries are there. What goes wrong is one exception, `CacheUnavailable`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from random import Random
from typing import Any, TypeVar

from langchain_cluster.cache.clients import Clients
from langchain_cluster.cache.held_up import After
from langchain_cluster.errors import CacheUnavailable
from langchain_cluster.extras import need
from langchain_cluster.guard.breaker import CircuitBreaker, Permit
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.policy import BreakerPolicy

T = TypeVar("T")

# The first failure opens it: the next has to wait for another timeout. Where several masters are asked at
# once nobody can say which of them it was, and the others are well: there it takes more.
BREAKER = BreakerPolicy(consecutive_failures=1, open_for=1.0, max_open=15.0)
CLUSTER_BREAKER = BreakerPolicy(consecutive_failures=5, open_for=1.0, max_open=15.0)

# Of the timeout: whoever leaves after so long has waited for a server that hangs, and says so.
LONG_ENOUGH = 0.2

_Permits = list[tuple[CircuitBreaker, Permit]]


class _Time:
    now = staticmethod(time.monotonic)


class Guarded:
    """One server, or the masters of a cluster.

    Args:
        clients: makes connections.
        policy: of each breaker; a default if None.
        rng: for the jitter of the open time.
    """

    def __init__(self, clients: Clients, policy: BreakerPolicy | None, rng: Random) -> None:
        self.clients = clients
        self._cluster = clients.address.kind == "cluster"
        self._policy, self._rng = policy or BREAKER, rng
        whole = policy or (CLUSTER_BREAKER if self._cluster else BREAKER)
        self.breaker = CircuitBreaker(whole, _Time(), rng=rng)
        self.masters: dict[str, CircuitBreaker] = {}
        errors = need("redis.exceptions", extra="redis", for_="RedisCache")
        # The server has said no, and at once: it is there. (Unless it says that it cannot serve.)
        self._refusals: tuple[type[Exception], ...] = (errors.ResponseError,)
        self._away: tuple[type[Exception], ...] = (
            errors.ClusterDownError, errors.ReadOnlyError, errors.TryAgainError, errors.MasterDownError,
        )  # fmt: skip
        self._well = False
        self.errors = 0

    @property
    def longest(self) -> float:
        """Seconds a question may block at most by the timeouts of its own; infinite if nobody can say.

        It is when the last one failed or nothing was asked yet: a name may have to be looked up, which no
        timeout of ours ends. And in a cluster, where one question may go to several nodes.
        """
        if self._cluster or not self._well:
            return inf
        return self.clients.connect_timeout + 2 * self.clients.timeout

    def forget(self) -> None:
        """Its connections are closed: nothing is known of it any more."""
        self._well = False

    @property
    def state(self) -> str:
        """Of the breaker, or the first of them that is not closed."""
        breakers = (self.breaker, *self.masters.values())
        return next((b.state.value for b in breakers if b.state.value != "closed"), "closed")

    def ask(self, keys: Sequence[bytes], ask: Callable[..., T], *given: Any) -> T:
        """What `ask(client, *given)` answers.

        Args:
            keys: all that it is about; () when it goes to every master.

        Raises:
            CacheUnavailable: it failed, or the server is left alone for a while.
        """
        permits = self._permits(keys, self.clients.kept())
        verdict = Verdict.ABANDONED
        try:
            answer = ask(self.clients.blocking(), *given)
            verdict, self._well = Verdict.OK, True
            return answer
        except Exception as error:
            verdict = self._blame(error)
            raise self._told(error) from None
        finally:
            self._record(permits, verdict)

    async def aask(self, keys: Sequence[bytes], ask: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        """The asyncio twin of `ask`."""
        permits = self._permits(keys, self.clients.kept_here())
        verdict = Verdict.ABANDONED
        hangs: list[bool] = []
        look = After(LONG_ENOUGH * self.clients.timeout, lambda: hangs.append(True))
        try:
            answer = await ask(self.clients.awaited(), *given)
            verdict, self._well = Verdict.OK, True
            return answer
        except Exception as error:
            verdict = self._blame(error)
            raise self._told(error) from None
        except BaseException:
            if hangs:
                verdict, self._well = Verdict.TRANSIENT, False
            raise
        finally:
            look.stop()
            self._record(permits, verdict)

    def _concerned(self, keys: Sequence[bytes], client: Any) -> tuple[CircuitBreaker, ...]:
        """The breakers of the masters of these keys; the common one first where there are several."""
        if not self._cluster or not keys or client is None:
            return (self.breaker,)
        try:
            names = {client.get_node_from_key(key).name for key in keys}
        except Exception:
            return (self.breaker,)  # it has not seen the cluster yet, or nobody serves that slot
        found = tuple([self._master(name) for name in names])
        return found if len(found) == 1 else (self.breaker, *found)

    def _master(self, name: str) -> CircuitBreaker:
        breaker = self.masters.get(name)
        if breaker is None:
            breaker = self.masters.setdefault(name, CircuitBreaker(self._policy, _Time(), rng=self._rng))
        return breaker

    def _permits(self, keys: Sequence[bytes], client: Any) -> _Permits:
        now = time.monotonic()
        permits: _Permits = []
        for breaker in self._concerned(keys, client):
            permit = breaker.try_acquire(now)
            if permit is None:
                self._record(permits, Verdict.ABANDONED)
                self.errors += 1
                left = max(0.0, breaker.open_until - now)
                raise CacheUnavailable(str(self.clients.address), f"left alone for {left:.1f} s more")
            permits.append((breaker, permit))
        return permits

    def _record(self, permits: _Permits, verdict: Verdict) -> None:
        now = time.monotonic()
        for number, (breaker, permit) in enumerate(permits):
            # Of several masters nobody knows which one it was: only the common breaker, the first, is told.
            told = verdict if number == 0 or verdict is Verdict.OK else Verdict.ABANDONED
            breaker.record(permit, told, now)

    def _blame(self, error: Exception) -> Verdict:
        self.errors += 1
        if isinstance(error, self._refusals) and not isinstance(error, self._away):
            return Verdict.OK
        self._well = False
        return Verdict.TRANSIENT

    def _told(self, error: Exception) -> CacheUnavailable:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return CacheUnavailable(str(self.clients.address), self.clients.address.hidden(reason))
