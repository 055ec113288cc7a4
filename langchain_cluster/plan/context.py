"""What a plan may see: state, decisions and the time; nothing that moves bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.guard.crowd import Crowd
from langchain_cluster.guard.flights import Flights
from langchain_cluster.guard.outage import Outage
from langchain_cluster.guard.quantile import Lately
from langchain_cluster.guard.spending import Spending
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import CacheFailed, CacheRecovered, Event
from langchain_cluster.model.policy import Policy
from langchain_cluster.plan.effects import Started
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import Claim, Codec, LimitStore


class Keys(Protocol):
    """Under which keys a request's answer may lie."""

    def all(self, request: Request) -> tuple[str, ...]:
        """One per model identity in the pool that may serve `request`; () when it is not cacheable."""

    def of(self, request: Request, endpoint: Endpoint) -> str:
        """The key of an answer that `endpoint` gave."""

    def scopes(self, request: Request) -> tuple[str, ...]:
        """Within which answers to questions that mean the same may serve; as many as `all`."""

    def scope(self, request: Request, endpoint: Endpoint) -> str:
        """Within which an answer may serve that `endpoint` gave."""


class Alike(Protocol):
    """What a plan does with answers to questions that mean the same, beside asking for them."""

    def words(self, value: Any) -> str | None:
        """The text of an answer; None when it is not to be kept."""

    def audit(self, request: Request, hit: Any) -> None:
        """Ask anew beside the call, whether `hit` was right. Returns at once."""


class Parts(Protocol):
    """How a request falls into parts; an answer's value is a list with one entry per part."""

    def keys(self, request: Request) -> tuple[str, ...]:
        """One per part; () when they are not cacheable."""

    def only(self, request: Request, places: Sequence[int]) -> Request:
        """The request for only the parts at `places`."""

    def encode(self, value: Any) -> bytes:
        """Bytes of one part's value."""

    def decode(self, request: Request, raw: bytes) -> Any:
        """One part's value. Raises ValueError for bytes that are none."""

    def agree(self, known: Any, fresh: Any) -> bool:
        """Whether a cached and a fresh value may stand in one answer."""


class Renewals(Protocol):
    """Has known answers asked anew beside the calls. Both return at once."""

    def begin(self, request: Request, policy: Policy) -> None:
        """Ask anew, unless that is under way."""

    def used(self, request: Request, policy: Policy) -> None:
        """An answer that will soon be too old was given: ask anew if it is often."""


@dataclass(slots=True)
class Context:
    """One call's view. `policy` is taken at its start: a reload never changes a call half-way.

    Args:
        keys: None when there is no cache, or the call is to leave it alone.
        emit: tells listeners; returns at once.
        heard: whether anybody listens; if not, the event at a call's end is not even built.
        parts: how a request falls into values that are cached one by one; None: it is one value.
        hedges: what second attempts are paid from, besides `budget`; None without bound.
        outage: since when the cache fails, if it does; None where nobody asks.
        static: makes an answer of a text; None where there is no such thing.
        alike: how answers serve questions that mean the same; None: they do not.
        limits: where limits per minute are counted for all processes; None: each counts for itself.
        claims: whether processes agree in the cache on who asks a new question.
        renewals: asks answers anew that are too old; None: nobody does.
        alone: since when that place is away, if it is.
        spending: the budgets calls are paid from; None: nobody counts.
        wall: the time of day, seconds since 1970, that budgets and the age of answers go by.
        rng: chance. crowd: who waits for endpoints that asked to be left alone. Both of all calls.
        gave_up: written by the plan: the error of a call whose every attempt failed.
        claim: written by the plan: the right to ask for all processes, while it is ours.
        kept: written by the plan: the answer lies in the cache.
        waited: written by the plan: the cache has had its part of a short time, in vain.
        begun: written by the plan: something of an answer was handed out.
        opened: written by the plan: the stream that is being handed out.
        asked: written by the plan: how many attempts it has begun, and the endpoint of the latest.
        lately: how long answers took; None when nobody goes by it.
        began: when the work began that this call is a part of, and whose time it shares; None: now.
    """

    pool: Pool
    policy: Policy
    now: Callable[[], float]
    emit: Callable[[Event], None] = field(default=lambda event: None)
    budget: RetryBudget | None = None
    flights: Flights | None = None
    keys: Keys | None = None
    codec: Codec | None = None
    heard: bool = True
    parts: Parts | None = None
    began: float | None = None
    hedges: RetryBudget | None = None
    lately: Lately | None = None
    outage: Outage | None = None
    static: Callable[[str], Any] | None = None
    alike: Alike | None = field(default=None, kw_only=True)
    limits: LimitStore | None = field(default=None, kw_only=True)
    alone: Outage | None = field(default=None, kw_only=True)
    spending: Spending | None = field(default=None, kw_only=True)
    wall: Callable[[], float] = field(default=lambda: 0.0, kw_only=True)
    claims: bool = field(default=False, kw_only=True)
    renewals: Renewals | None = field(default=None, kw_only=True)
    rng: Random = field(default_factory=lambda: Random(0), kw_only=True)
    crowd: Crowd = field(default_factory=Crowd, kw_only=True)
    gave_up: BaseException | None = None
    begun: bool = False
    claim: Claim | None = None
    kept: bool = False
    waited: bool = False
    opened: Started | None = None
    asked: tuple[int, str] | None = None

    def cache_failed(self, operation: str, error: str) -> None:
        """The cache could not do that; the call goes on without it."""
        now = self.now()
        if self.outage is not None:
            self.outage.began(now)
        self.emit(CacheFailed(now, operation, error))

    def cache_worked(self, operation: str) -> None:
        """Every layer of the cache did that."""
        if self.outage is not None and self.outage.since is not None:
            now = self.now()
            seconds = self.outage.ended(now)
            if seconds is not None:
                self.emit(CacheRecovered(now, operation, seconds))
