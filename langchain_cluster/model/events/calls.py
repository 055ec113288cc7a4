"""What happens to one call, and to the budgets that calls are paid from."""

from __future__ import annotations

from dataclasses import dataclass, field

from langchain_cluster.model.call import Answer, AttemptReport, Request
from langchain_cluster.model.events.event import Event


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
    """A logical call ended: `answer`, or `error` with the attempts made and the endpoint asked last."""

    request: Request = field(repr=False)
    answer: Answer | None
    error: str | None = None
    attempts: int = 0
    endpoint: str | None = None


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
