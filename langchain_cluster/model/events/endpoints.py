"""What happens to one endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.model.endpoint import Endpoint, EndpointStatus
from langchain_cluster.model.events.event import Event


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
    """A circuit breaker changed its state; `reason` says what made it.

    `hearsay`: only because another process said so.
    """

    endpoint: str
    state: str
    before: str
    reason: str
    hearsay: bool = False


@dataclass(frozen=True, slots=True)
class EndpointCooling(Event):
    """An endpoint and its quota group asked to be left alone for `seconds`; `hearsay`: another process.

    What was heard is told of each endpoint that it made cool down, without a group. `asked`: the seconds
    it asked for, where those were more than it is given.
    """

    endpoint: str
    seconds: float
    group: str | None = None
    hearsay: bool = False
    asked: float | None = None


@dataclass(frozen=True, slots=True)
class EndpointEjected(Event):
    """An endpoint did worse than its peers and is taken out for `seconds`; `hearsay`: for another process."""

    endpoint: str
    seconds: float
    reason: str
    hearsay: bool = False


@dataclass(frozen=True, slots=True)
class EndpointReturned(Event):
    """An endpoint that was ejected takes calls again: its time is over, or it was reset."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class EndpointWarm(Event):
    """An endpoint that joined has warmed up: it carries its whole share."""

    endpoint: str
