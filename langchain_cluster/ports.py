"""Every seam of the library on one page: implement one of these and hand it in.

Nothing here is called under a lock, except `Balancer.pick`, which must not block.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from threading import Lock
from typing import Any, Protocol, runtime_checkable

from langchain_cluster.model.alert import Alert
from langchain_cluster.model.call import Answer, Attempt, Heard, Outcome, Request, Resume
from langchain_cluster.model.endpoint import Endpoint, Load, Roster
from langchain_cluster.model.events import Event
from langchain_cluster.model.health import Health
from langchain_cluster.model.hearsay import Hearsay
from langchain_cluster.model.scope import Away, Refused, Scope, Taken
from langchain_cluster.model.term import Term


class Now(Protocol):
    """Tells the time: monotonic float seconds from any origin."""

    def now(self) -> float:
        """The time, seconds."""


class Clock(Now, Protocol):
    """The only source of time and of waiting."""

    def sleep(self, seconds: float) -> None:
        """Block the thread."""

    async def asleep(self, seconds: float) -> None:
        """Suspend the task."""

    def wait(self, gate: Lock, until: float | None) -> bool:
        """Block until `gate` could be taken (True) or the time is `until` (False)."""

    def timeout_at(self, until: float | None) -> AbstractAsyncContextManager[Any]:
        """An async block that raises `TimeoutError` when the time is `until`."""


class Candidate(Protocol):
    """An endpoint as a balancer sees it: plain attributes, read without a lock."""

    endpoint: Endpoint
    index: int  # place in its snapshot; stable while the snapshot is
    weight: float  # effective: slow start included
    in_flight: int
    ewma_seconds: float  # 0.0 until the first answer
    ewma_at: float  # when it was last updated
    served: int
    failed: int
    load: Load | None


class Balancer(Protocol):
    """Who should answer? A decision on facts it is handed; it never waits, logs or reads a clock."""

    name: str

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """One of `candidates` (never empty, all of them may be asked).

        `candidates` is the same tuple object from call to call while nothing changed, so a balancer
        may keep what it worked out for it.
        """


@runtime_checkable
class Prepares(Protocol):
    """What a `Balancer` may have beside `pick`, to do what costs before candidates are published.

    One that fades latencies may also have a `decay`, the seconds in which an old one loses 63 % of its
    weight: the pool then keeps its averages by it.
    """

    def prepare(self, candidates: Sequence[Any], rng: Random) -> Callable[[Request, float], Any]:
        """A function of (request, now) that picks among these `candidates`, as `pick` would."""


@runtime_checkable
class TakesTurns(Protocol):
    """The same, for a `Balancer` that looks at neither the request nor the time."""

    def turns(self, candidates: Sequence[Any], rng: Random) -> Callable[[], Any]:
        """A function that gives these `candidates` in turn, as `pick` would; several threads call it."""


@runtime_checkable
class ReadsPrefixes(Protocol):
    """What a `Balancer` may have beside `pick` if it looks at what prompts begin with."""

    def digest_of(self, prefix: str, model: str | None) -> int:
        """What it will need of a prompt's beginning: a request brings it along, and each pick is quick."""


class Caller(Protocol):
    """Asks an endpoint. What the endpoint does wrong comes back as an `Outcome`, never as an exception."""

    def call(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """Ask and wait for the whole answer; `headers` go along where the endpoint's client can send them."""

    async def acall(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """The same, awaited."""

    def open(self, attempt: Attempt, headers: Mapping[str, str], resume: Resume | None = None) -> Opened:
        """Ask for a stream; nothing is sent before its first chunk is wanted.

        `resume`: it takes over from one that broke, and `out` gives only what is new of it.
        """


class Awaited(Protocol):
    """Something that will happen, and tells."""

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once when it has happened, at once if it has."""

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited has left."""


class Begun(Awaited, Protocol):
    """An attempt that runs beside the plan that began it, and tells when its outcome is there."""

    outcome: Outcome | None

    def drop(self) -> None:
        """Nobody wants its answer any more: call it off, and close what it has opened. Never waits."""


class Opened(Protocol):
    """A stream of one attempt. Iterate one colour only, then read `outcome`."""

    def chunks(self) -> Iterator[Any]:
        """The stream's chunks; raises what the endpoint raises."""

    def achunks(self) -> AsyncIterator[Any]:
        """The stream's chunks; raises what the endpoint raises."""

    def has_token(self, chunk: Any) -> bool:
        """Whether the consumer gets something from `chunk` (a role or an empty text is nothing)."""

    def note(self, chunk: Any, at: float) -> None:
        """Take `chunk` into account for the outcome."""

    def out(self, chunk: Any) -> Any:
        """What the consumer gets for `chunk`; None for nothing."""

    def ended(self, at: float) -> Outcome:
        """The outcome of a stream that ended by itself: OK, or TRANSIENT when it was cut."""

    def broke(self, error: BaseException, at: float) -> Outcome:
        """The outcome of a stream that raised `error`."""

    def heard(self) -> Heard:
        """What has come so far."""

    def partial(self) -> Any:
        """What was received so far, put together; None for nothing."""

    def delivered(self) -> str | None:
        """The text handed out so far; None when there was more to it than text."""


class Span(Protocol):
    """A stretch of time in a trace. Entering makes it the current one, for a step; `end` ends it."""

    headers: Mapping[str, str]  # what carries the trace to the endpoint

    def __enter__(self) -> object: ...
    def __exit__(self, *details: Any) -> None: ...

    def streams(self, stream: Opened) -> None:
        """Of an attempt: what is answered comes in chunks, and `stream` knows which."""

    def end(self, ended: Outcome | Answer | BaseException | str | None) -> None:
        """It is over, and this is how; a second `end` does nothing."""


class Tracing(Protocol):
    """Opens spans. `call` answers None when nobody listens, and then the others are not asked."""

    def call(self, request: Request, *, balancer: str, streaming: bool) -> Span | None:
        """A logical call, under whatever span is current."""

    def attempt(self, attempt: Attempt, parent: Span) -> Span | None:
        """One attempt of it on one endpoint."""

    def lookup(self, parent: Span) -> Span | None:
        """Its look into the cache."""


class CacheStore(Protocol):
    """Bytes under keys with a time to live; every operation has an `a`-twin. Absent is None."""

    name: str

    def get(self, key: str) -> bytes | None: ...
    def set(self, key: str, value: bytes, ttl: float | None = None) -> None: ...
    def delete(self, key: str) -> bool: ...
    def exists(self, key: str) -> bool: ...
    def expire(self, key: str, ttl: float) -> bool: ...
    def mget(self, keys: Sequence[str]) -> list[bytes | None]: ...
    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None: ...
    def mdelete(self, keys: Sequence[str]) -> int: ...
    def clear(self, pattern: str = "*") -> int: ...
    def close(self) -> None: ...

    async def aget(self, key: str) -> bytes | None: ...
    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None: ...
    async def adelete(self, key: str) -> bool: ...
    async def aexists(self, key: str) -> bool: ...
    async def aexpire(self, key: str, ttl: float) -> bool: ...
    async def amget(self, keys: Sequence[str]) -> list[bytes | None]: ...
    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None: ...
    async def amdelete(self, keys: Sequence[str]) -> int: ...
    async def aclear(self, pattern: str = "*") -> int: ...
    async def aclose(self) -> None: ...


class Claim(Protocol):
    """The right to ask a new question for all processes, until it ends."""

    def end(self, *, shared: bool) -> None:
        """Give it back, without waiting for anything.

        Args:
            shared: whether those who wait should look again, and one of them claim it if there is no answer.
                If not, there will be none to share, and each of them asks for itself.
        """


class AlikeStore(Protocol):
    """Answers under what questions mean. `hit.answer` is the bytes, `hit.audit` whether to check it."""

    def seek(self, text: str, scopes: Sequence[str]) -> Any: ...
    def keep(self, text: str, scope: str, raw: bytes, words: str) -> None: ...
    def audited(self, hit: Any, words: str) -> bool: ...
    def close(self) -> None: ...

    async def aseek(self, text: str, scopes: Sequence[str]) -> Any: ...
    async def akeep(self, text: str, scope: str, raw: bytes, words: str) -> None: ...


class Codec(Protocol):
    """Answers to bytes and back; nothing is ever unpickled."""

    def encode(self, value: Any) -> bytes:
        """Bytes of an answer."""

    def decode(self, raw: bytes) -> Any:
        """A fresh answer, the reader's own. Raises ValueError for bytes it did not write."""


@runtime_checkable
class Discovery(Protocol):
    """Where a roster comes from. An exception means "stale, keep the last"."""

    def fetch(self, after: int | None) -> Roster:
        """The whole roster once its revision differs from `after`, or after the source's own wait."""

    async def afetch(self, after: int | None) -> Roster:
        """The same, awaited."""


class Registrar(Protocol):
    """Where an endpoint can announce itself."""

    def register(self, endpoint: Endpoint) -> None: ...
    def deregister(self, id: str) -> None: ...
    def heartbeat(self, id: str, load: Load | None = None) -> None: ...


@runtime_checkable
class HealthCheck(Protocol):
    """Looks whether an endpoint can answer. An exception is a failed check, and its text the reason.

    It may have a `timeout`, the seconds a check may take (1 s if not), and a `close()`, called when
    nobody will be checked any more. It is called from several threads at once.
    """

    def check(self, endpoint: Endpoint) -> Health:
        """Look once, blocking; what the background work calls."""

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""


@runtime_checkable
class Leadership(Protocol):
    """One holder per fleet, for work that should be done once.

    At most one term lasts at a time, as well as the place that keeps it can tell. None of these waits
    for its turn, and none raises because that place is away: then nobody becomes the holder, and who
    is one stays it until its term ends. `now` is in the monotonic seconds of the caller, read before
    the call; `Term.until` is in the same. It may have a `close()`. It is called from several threads.
    """

    lease: float  # seconds a term lasts unless it is renewed
    trouble: str | None  # why the last call could not be answered; None when it was

    def acquire(self, now: float) -> Term | None:
        """A new term with a larger token than all before it; None when somebody has one."""

    def renew(self, term: Term, now: float) -> Term | None:
        """The same term with a later end; None when it is over, and then the work is to stop."""

    def release(self, term: Term) -> None:
        """End a term before its time. Does nothing when it is over."""

    async def aacquire(self, now: float) -> Term | None: ...
    async def arenew(self, term: Term, now: float) -> Term | None: ...
    async def arelease(self, term: Term) -> None: ...


@runtime_checkable
class Noticeboard(Protocol):
    """Where a holder tells its fleet what it found. A `Leadership` may be one too; failing is silent."""

    def post(self, term: Term, name: str, text: str, keep: float) -> bool:
        """Publish for `keep` seconds, over what is there; whether it did. A later term's stays."""

    def read(self, name: str) -> tuple[str, float] | None:
        """What was published, and how many seconds ago; None for nothing."""

    async def apost(self, term: Term, name: str, text: str, keep: float) -> bool: ...
    async def aread(self, name: str) -> tuple[str, float] | None: ...


@runtime_checkable
class AlertRule(Protocol):
    """Says what is wrong. It is fed every event and asked about once a second; it waits for nothing.

    It may have a `for_seconds` (how long something is wrong before anybody is told, 0 if not), a
    `resolve_after` (how long it must be well before that is told, 30), a `repeat` (seconds after which
    somebody is told again) and `react`, a sequence of reactions.
    """

    name: str

    def feed(self, event: Event) -> None:
        """Something happened."""

    def check(self, now: float, pool: Any) -> list[Alert]:
        """What is wrong now. Iterating `pool` gives its members."""


AlertSink = Callable[[Alert], Awaitable[None] | None]
"""Told of alerts on a thread of the cluster's, one after the other, and may take its time. It may have a
`close()`; what it raises becomes an event."""


class Channel(Protocol):
    """One process's place in a `Sharing`."""

    def say(self, said: Hearsay) -> None:
        """Tell all others, and who says it. Never waits and never raises; it may get lost."""

    def close(self) -> None:
        """Say and hear nothing more. Threads and connections are gone when it returns."""


@runtime_checkable
class Sharing(Protocol):
    """How processes tell each other what they see of endpoints. It decides nothing: pools do."""

    max_percent: float  # of a pool that may be out for hearsay at one time, 0-100

    def join(
        self,
        hear: Callable[[Hearsay], None],
        *,
        lost: Callable[[str], None],
        restored: Callable[[], None],
    ) -> Channel:
        """Take part, without waiting for anything.

        Args:
            hear: told what others say, and first what was said lately; on any thread, not of one's own.
            lost: told why nobody can be heard, when that begins; restored: that they can be again.
        """


@runtime_checkable
class LimitStore(Protocol):
    """Where processes count what they ask of endpoints together. Settling and cancelling wait for nothing."""

    @property
    def longest(self) -> float:
        """Seconds `take` blocks at most; infinite when nobody can say."""

    def take(self, scopes: Sequence[Scope], tokens: float) -> Taken | Refused | Away:
        """Take one call and `tokens` in every scope, or in none. A store that is away is an answer."""

    async def atake(self, scopes: Sequence[Scope], tokens: float) -> Taken | Refused | Away: ...

    def settle(self, taken: Taken, used: float) -> None:
        """What was taken has used so many tokens."""

    def cancel(self, taken: Taken) -> None:
        """Nobody was asked."""

    def close(self) -> None:
        """Tell what is left to be told. Threads and connections are gone when it returns."""


EventListener = Callable[[Event], None]
"""Told of every event, in order, after the lock is released; raising becomes an event."""

AsyncEventListener = Callable[[Event], Awaitable[None]]
"""The same, awaited on the event loop it was subscribed from."""
