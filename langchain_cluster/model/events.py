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


@dataclass(frozen=True, slots=True)
class TrafficMoved(Event):
    """Priority levels carry other parts of the traffic than before: (level, part 0-1) for each that has any.

    None at all means that nobody of any level may be asked.
    """

    shares: tuple[tuple[int, float], ...]
    before: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class PanicChanged(Event):
    """A priority level is used whole, unhealthy endpoints included, because too few are well; or no more."""

    level: int
    panics: bool


@dataclass(frozen=True, slots=True)
class StandbyChanged(Event):
    """A standby level is a part of the first for now; or a standby again."""

    level: int
    promoted: bool


@dataclass(frozen=True, slots=True)
class TierShifted(Event):
    """Calls for `tier` go to the tier `to`; None: to their own again."""

    tier: str
    to: str | None


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
class CallQueued(Event):
    """Every endpoint a call may go to is at a limit: it waits, with `waiting` calls in line in all."""

    request: Request = field(repr=False)
    waiting: int


@dataclass(frozen=True, slots=True)
class CallDequeued(Event):
    """A call that waited has a place, on `endpoint`, after `seconds`."""

    request: Request = field(repr=False)
    endpoint: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CallShed(Event):
    """A call is refused before anybody was asked; it may be made again in `retry_after` seconds."""

    request: Request = field(repr=False)
    reason: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt that did not give an answer."""

    report: AttemptReport


@dataclass(frozen=True, slots=True)
class CallDegraded(Event):
    """Nobody could answer a call, for `error`, and a step of its policy's ladder did."""

    step: str
    error: str


@dataclass(frozen=True, slots=True)
class CallEnded(Event):
    """A logical call ended: `answer`, or `error` with the attempts made."""

    request: Request = field(repr=False)
    answer: Answer | None
    error: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class RetryBudgetEmpty(Event):
    """A further attempt was refused, as retries had come to `ratio` per call. Told once in ten seconds."""

    ratio: float


@dataclass(frozen=True, slots=True)
class BudgetUsed(Event):
    """`part` of a budget is spent, told once in its hour, day ...; at 1 what costs something is refused.

    `scope` is "cluster", "agent" or "tenant", and `who` which one. `spent` of `limit` USD; `resets_in`
    seconds from when the call began, None if never.
    """

    scope: str
    who: str | None
    part: float
    spent: float
    limit: float
    resets_in: float | None


@dataclass(frozen=True, slots=True)
class CacheFailed(Event):
    """A cache could not be read or written: the call goes on without it."""

    operation: str
    error: str


@dataclass(frozen=True, slots=True)
class CacheRecovered(Event):
    """A cache that could not be read or written did `operation` again, after `seconds`."""

    operation: str
    seconds: float


@dataclass(frozen=True, slots=True)
class NotCached(Event):
    """What a cached `step` gave or was asked cannot be kept, for this reason; it was handed out as it is."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerAudited(Event):
    """An answer that had been given to another question was asked for anew: whether they `agreed`.

    If not, it serves nobody any more. `score` is the cosine of the two questions.
    """

    agreed: bool
    score: float


@dataclass(frozen=True, slots=True)
class AuditFailed(Event):
    """An answer that had been given to another question could not be checked."""

    error: str


@dataclass(frozen=True, slots=True)
class AnswerRenewed(Event):
    """A cached answer that was or would soon be too old was asked anew beside the calls, in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RenewalFailed(Event):
    """A cached answer could not be asked anew. It is given until it is too old for that, too."""

    error: str


@dataclass(frozen=True, slots=True)
class DiscoveryFailed(Event):
    """A discovery source cannot be read: the last roster stays. Told once until it has recovered.

    `stale_seconds`: since it last answered; None if it never did.
    """

    source: str
    error: str
    stale_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DiscoveryRecovered(Event):
    """A discovery source can be read again, after `seconds`."""

    source: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RosterHeld(Event):
    """A discovery source names `endpoints` no more, and they stay for now; `reason` says why."""

    source: str
    endpoints: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RosterReleased(Event):
    """`endpoints` are not held back any more: they leave, or the source names them again."""

    source: str
    endpoints: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RosterRestored(Event):
    """A discovery source could not be asked yet: the roster kept `age_seconds` ago is used, until it can."""

    source: str
    endpoints: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class SharingLost(Event):
    """Nothing is heard of other processes, and they hear nothing: all else goes on. Told once per outage."""

    error: str


@dataclass(frozen=True, slots=True)
class SharingRestored(Event):
    """What other processes see is heard again, after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReactionTaken(Event):
    """An alert's rule did something to `subject` by itself; `undone`: it took that back."""

    rule: str
    action: str
    subject: str
    undone: bool = False


@dataclass(frozen=True, slots=True)
class ReactionRefused(Event):
    """An alert's rule would have done something to `subject`, and why it did not."""

    rule: str
    action: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class AlertFailed(Event):
    """A rule raised, or a sink could not take an alert; everything else goes on."""

    part: str
    error: str


@dataclass(frozen=True, slots=True)
class ListenerFailed(Event):
    """A listener raised; the others were still told."""

    listener: str
    error: str
