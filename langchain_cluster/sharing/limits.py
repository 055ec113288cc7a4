"""Limits per minute that processes share through Redis or Valkey: one round trip for each attempt.

What a call has really used is known when it ends. That is told along with the next question, or a moment
later where none comes. A store that is away is left alone for a while (a breaker of its own sees to that),
and whoever asked keeps to his part of the limits: among as many as were there lately.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections import deque
from collections.abc import Sequence
from math import ceil, inf
from random import Random
from threading import Lock, Timer
from typing import Any, Self
from weakref import WeakKeyDictionary

from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need
from langchain_cluster.guard.breaker import CircuitBreaker, Permit
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.model.scope import Away, Refused, Scope, Taken
from langchain_cluster.sharing.bounds import is_namespace, some_seconds
from langchain_cluster.sharing.minute import SCRIPT

BREAKER = BreakerPolicy(consecutive_failures=1, open_for=1.0, max_open=15.0)
YOUNG = 60.0  # seconds: a store that counts for less does not know the whole minute
ALONG = 100  # corrections that go with one question
MOST = 10_000  # corrections that wait; then the oldest get lost, and leave their window within a minute
SOON = 0.5  # seconds until a correction goes by itself
Correction = tuple[str, int, int, int]  # key, quarter, calls, tokens


class _Time:
    now = staticmethod(time.monotonic)


class SharedLimits:
    """Counts what all processes of a namespace ask of endpoints and quota groups. `from_url` makes one.

    Args:
        url: `redis://`, `rediss://` or `unix://`, of one server.
        namespace: who uses another one is counted apart.
        timeout: seconds to connect, and for an answer; a call waits so long at most, and then goes on.
        breaker: when to leave the server alone for a while.

    Raises:
        ConfigError: one of them cannot be meant. ImportError: redis is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "langchain-cluster",
        timeout: float = 0.3,
        breaker: BreakerPolicy = BREAKER,
    ) -> None:
        self.timeout = some_seconds(timeout, "SharedLimits.timeout")
        if not is_namespace(namespace):
            raise ConfigError(
                f"{namespace!r} is not a name (a text without braces)", key="SharedLimits.namespace"
            )
        self.namespace, self._url = namespace, url
        self._mark, self._process = secrets.token_hex(8), os.getpid()
        self._sha = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self.breaker = CircuitBreaker(breaker, _Time(), rng=Random())
        self._lock = Lock()
        self._corrections: deque[Correction] = deque(maxlen=MOST)
        self._timer: Timer | None = None
        self._seen = 1  # processes, lately
        self._lost = False  # whether it has failed since it last answered
        self._back: float | None = None  # when it last answered for the first time after that
        library = need("redis", extra="redis", for_="SharedLimits")
        self._failures: tuple[type[BaseException], ...] = (library.exceptions.RedisError, OSError)
        self._unknown: type[BaseException] = library.exceptions.NoScriptError
        self._client: Any = self._connected("redis")  # a wrong address is told now
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    @classmethod
    def from_url(cls, url: str, *, namespace: str = "langchain-cluster", timeout: float = 0.3) -> Self:
        """Limits kept at `url`; nothing connects yet. See the class."""
        return cls(url, namespace=namespace, timeout=timeout)

    def take(
        self, scopes: Sequence[Scope], tokens: float, *, now: int | None = None
    ) -> Taken | Refused | Away:
        """Take one call and `tokens` in every scope, or in none. Never raises for the store.

        Args:
            now: milliseconds, instead of the server's time; for tests.
        """
        permit = self._permit()
        if permit is None:
            return Away("it is left alone for a while", self._seen)
        wanted, along = ceil(tokens), self._along()
        verdict = Verdict.ABANDONED
        try:
            answer = self._run(self._given(scopes, wanted, along, now))
            verdict = Verdict.OK
        except self._failures as error:
            verdict = Verdict.TRANSIENT
            return self._away(error, along)
        finally:
            self.breaker.record(permit, verdict, time.monotonic())
        return self._read(answer, scopes, wanted)

    async def atake(
        self, scopes: Sequence[Scope], tokens: float, *, now: int | None = None
    ) -> Taken | Refused | Away:
        """The asyncio twin of `take`."""
        permit = self._permit()
        if permit is None:
            return Away("it is left alone for a while", self._seen)
        wanted, along = ceil(tokens), self._along()
        verdict = Verdict.ABANDONED
        try:
            answer = await self._arun(self._given(scopes, wanted, along, now))
            verdict = Verdict.OK
        except self._failures as error:
            verdict = Verdict.TRANSIENT
            return self._away(error, along)
        finally:
            self.breaker.record(permit, verdict, time.monotonic())
        return self._read(answer, scopes, wanted)

    def settle(self, taken: Taken, used: float) -> None:
        """What was taken has used so many tokens. Waits for nothing: it is told with the next question."""
        over = ceil(used) - taken.tokens
        if over:
            self._correct(taken, 0, over)

    def cancel(self, taken: Taken) -> None:
        """Nobody was asked: the call and its tokens are given back. Waits for nothing."""
        self._correct(taken, -1, -taken.tokens)

    def flush(self) -> None:
        """Tell what was not told yet; blocks for the timeout at most."""
        self._timer = None
        while self._corrections and self.breaker.open_until <= time.monotonic():
            if isinstance(self.take((), 0), Away):
                return

    @property
    def longest(self) -> float:
        """Seconds `take` may block by the timeouts of its own, once it is connected; else infinite.

        Before, a name may have to be looked up, which no timeout of ours ends.
        """
        return 4 * self.timeout if self._well else inf

    def close(self) -> None:
        """Tell what is left to be told, and close all connections. Whoever asks again opens new ones."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._corrections:
            self.flush()
        self._client.close()
        with self._lock:
            by_loop, self._by_loop = list(self._by_loop.items()), WeakKeyDictionary()
        for loop, client in by_loop:
            if loop.is_running():
                try:
                    loop.call_soon_threadsafe(_close_soon, client)
                except RuntimeError:
                    pass  # it was closed a moment ago

    # -- inside -------------------------------------------------------------------------------------

    _well = False  # whether it has answered, and has not failed since

    def _permit(self) -> Permit | None:
        if self._process != os.getpid():  # a fork is another process, and must not share sockets
            self._process, self._mark = os.getpid(), secrets.token_hex(8)
            self._lock, self._timer, self._corrections = Lock(), None, deque(maxlen=MOST)
            self._client, self._by_loop = self._connected("redis"), WeakKeyDictionary()
        return self.breaker.try_acquire(time.monotonic())

    def _run(self, given: tuple[int, list[Any]]) -> Any:
        count, arguments = given
        try:
            return self._client.evalsha(self._sha, count, *arguments)
        except self._unknown:
            return self._client.eval(SCRIPT, count, *arguments)

    async def _arun(self, given: tuple[int, list[Any]]) -> Any:
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            with self._lock:
                for other in [other for other in self._by_loop if other.is_closed()]:
                    del self._by_loop[other]
                client = self._by_loop[loop] = self._connected("redis.asyncio")
        count, arguments = given
        try:
            return await client.evalsha(self._sha, count, *arguments)
        except self._unknown:
            return await client.eval(SCRIPT, count, *arguments)

    def _given(
        self, scopes: Sequence[Scope], tokens: int, along: list[Correction], now: int | None
    ) -> tuple[int, list[Any]]:
        keys = [self._key("processes"), self._key("since"), *(self._key(_digest(one)) for one in scopes)]
        keys += [correction[0] for correction in along]
        arguments: list[Any] = ["" if now is None else now, self._mark, len(scopes), tokens]
        for scope in scopes:
            arguments += [-1 if limit is None else float(limit) for limit in (scope.rpm, scope.tpm)]
        for _, quarter, calls, amount in along:
            arguments += [quarter, calls, amount]
        return len(keys), [*keys, *arguments]

    def _read(self, answer: Sequence[Any], scopes: Sequence[Scope], tokens: int) -> Taken | Refused:
        given, milliseconds, place, quarter, processes, age = map(int, answer)
        moment = time.monotonic()
        if self._lost:
            self._lost, self._back = False, moment
        # What went by it in an outage it does not know; lost and begun anew, it knows fewer processes too.
        young = age < YOUNG * 1000 or (self._back is not None and moment - self._back < YOUNG)
        self._well = True
        self._seen = max(self._seen, processes) if young else max(1, processes)
        parts = self._seen if young else 1
        if given:
            return Taken(tuple(scopes), tokens, quarter, parts)
        seconds = inf if milliseconds < 0 else milliseconds / 1000
        return Refused(scopes[place // 2], "tpm" if place % 2 else "rpm", seconds, parts)

    def _away(self, error: BaseException, along: list[Correction]) -> Away:
        # Whether the corrections got there nobody knows. To take twice is safe, to give back twice is not.
        self._well, self._lost = False, True
        self._corrections.extend(one for one in along if one[2] >= 0 and one[3] > 0)
        return Away(type(error).__name__, self._seen)

    def _correct(self, taken: Taken, calls: int, tokens: int) -> None:
        for scope in taken.scopes:
            self._corrections.append((self._key(_digest(scope)), taken.grain, calls, tokens))
        with self._lock:
            if self._timer is None:
                self._timer = Timer(SOON, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def _along(self) -> list[Correction]:
        along: list[Correction] = []
        try:
            while len(along) < ALONG:
                along.append(self._corrections.popleft())
        except IndexError:  # there are no more
            pass
        return along

    def _key(self, part: str) -> str:
        return f"langchain-cluster:{{{self.namespace}}}:limits:{part}"  # braces: one slot, where slots are

    def _connected(self, kind: str) -> Any:
        library = need(kind, extra="redis", for_="SharedLimits")
        errors = need("redis.exceptions", extra="redis", for_="SharedLimits")
        retry = need(f"{kind}.retry", extra="redis", for_="SharedLimits")
        backoff = need("redis.backoff", extra="redis", for_="SharedLimits")
        # Once more, at once, on another connection: this one was idle. Not after a timeout.
        once = retry.Retry(backoff.NoBackoff(), 1, supported_errors=(errors.ConnectionError,))
        try:
            return library.Redis.from_url(
                self._url,
                retry=once,
                socket_connect_timeout=self.timeout,
                socket_timeout=self.timeout,
                protocol=2,  # needs no handshake, and every server speaks it
            )
        except Exception:  # its text shows the address, and the password in it
            raise ConfigError(
                "is not an address such as 'redis://10.0.0.9:6379/0' (it is not shown, in case there is a "
                "password in it)",
                key="SharedLimits.url",
            ) from None

    def __repr__(self) -> str:
        return f"SharedLimits(namespace={self.namespace!r})"


def _digest(scope: Scope) -> str:
    """An id may be long, and say more than a key should."""
    text = f"{scope.kind}\0{scope.name}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:24]


_closing: set[asyncio.Task[None]] = set()  # a task nobody holds may be gone before it has run


def _close_soon(client: Any) -> None:
    task = asyncio.get_running_loop().create_task(client.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
