"""What happens to the caches."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.model.events.event import Event


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
