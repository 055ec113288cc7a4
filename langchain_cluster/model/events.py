"""Everything that can happen, one frozen value each. `at` is the cluster's monotonic clock, seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from langchain_cluster.model.call import Answer, AttemptReport, Request
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at `at`."""

    at: float


@dataclass(frozen=True, slots=True)
class EndpointJoined(Event):
    """An endpoint is in the pool that was not."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class EndpointLeft(Event):
    """An endpoint is no longer in the pool; its calls in flight finish."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class EndpointUpdated(Event):
    """An endpoint is described differently than before."""

    endpoint: Endpoint
    before: Endpoint


@dataclass(frozen=True, slots=True)
class EndpointRejected(Event):
    """A discovery source named something that cannot be an endpoint; the others are not touched."""

    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class StatusChanged(Event):
    """An endpoint went online, offline, busy or draining."""

    endpoint: str
    status: EndpointStatus
    before: EndpointStatus


@dataclass(frozen=True, slots=True)
class HealthChanged(Event):
    """Health checks changed their mind about an endpoint; `reason` is what the last one saw."""

    endpoint: str
    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerChanged(Event):
    """A circuit breaker changed its state; `reason` says what made it."""

    endpoint: str
    state: str
    before: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointCooling(Event):
    """An endpoint and its quota group asked to be left alone for `seconds`."""

    endpoint: str
    seconds: float
    group: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointEjected(Event):
    """An endpoint did worse than its peers and is taken out for `seconds`."""

    endpoint: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class CallsMigrated(Event):
    """So many calls that had delivered nothing were called back from an endpoint, to be made elsewhere."""

    endpoint: str
    calls: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamResumed(Event):
    """The stream of `broke` broke, and `endpoint` goes on with it: by prefill, or by answering anew."""

    broke: str
    endpoint: str
    prefill: bool


@dataclass(frozen=True, slots=True)
class HedgeBegun(Event):
    """An attempt was slow, and a second one began beside it."""

    slow: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt that did not give an answer."""

    report: AttemptReport


@dataclass(frozen=True, slots=True)
class CallEnded(Event):
    """A logical call ended: `answer`, or `error` with the attempts made."""

    request: Request = field(repr=False)
    answer: Answer | None
    error: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class CacheFailed(Event):
    """A cache could not be read or written: the call goes on without it."""

    operation: str
    error: str


@dataclass(frozen=True, slots=True)
class ListenerFailed(Event):
    """A listener raised; the others were still told."""

    listener: str
    error: str
