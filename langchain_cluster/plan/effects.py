"""What a plan may ask of the outside world. Plans yield these, drivers perform them.

Ask with `yield from`, so that the answer is typed: `outcome = yield from Call(attempt)`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from langchain_cluster.model.call import Attempt, Outcome, Resume
from langchain_cluster.model.endpoint import Endpoint, Roster
from langchain_cluster.model.health import Health
from langchain_cluster.model.scope import Away, Refused, Scope, Taken
from langchain_cluster.ports import Awaited, Begun, Claim, Discovery, HealthCheck, LimitStore, Opened

R = TypeVar("R")
T = TypeVar("T")


class Effect(Generic[R]):
    """One request to the outside world, whose answer has type `R`."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[Any], Any, R]:
        answer: R = yield self
        return answer


Plan = Generator[Effect[Any], Any, T]


@dataclass(frozen=True, slots=True)
class Found:
    """What a cache held: the bytes, and the name of the layer that held them.

    Attributes:
        raw: None when the layers that could be asked hold nothing.
        failed: names of the errors of layers that could not be asked.
    """

    raw: bytes | None
    layer: str
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of claiming a question for all processes.

    Attributes:
        raw: an answer that is there already, whoever gave it; layer: where it lay.
        claim: ours, to be ended; None when it is another's.
        streaming: whether that one's answer comes at its consumer's pace.
        alone: whether nobody is to be waited for: whoever asked has nothing to share.
    """

    raw: bytes | None = None
    layer: str = "miss"
    claim: Claim | None = None
    streaming: bool = False
    alone: bool = False


@dataclass(slots=True)
class Lookup(Effect["Found | None"]):
    """Read the first of `keys` that the cache holds. Raises what the cache raises, or TimeoutError.

    `near`: only what it can tell without waiting for anything.
    """

    keys: tuple[str, ...]
    until: float | None = field(default=None, compare=False, repr=False)
    near: bool = False


@dataclass(slots=True)
class Store(Effect["tuple[str, ...] | None"]):
    """Write `raw` under `key`; the names of the errors of layers that could not be written.

    Raises what the cache raises, or TimeoutError.
    """

    key: str
    raw: bytes
    until: float | None = field(default=None, compare=False, repr=False)
    ttl: float | None = None


@dataclass(slots=True)
class ClaimQuestion(Effect["Claimed | None"]):
    """Claim the question whose answer may lie under `keys`; None where nobody claims. Raises as `Lookup`."""

    keys: tuple[str, ...]
    streaming: bool = False
    until: float | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class LookupEach(Effect["list[Found | None]"]):
    """Read all of `keys`, in order; None for those the cache does not hold. Raises as `Lookup` does."""

    keys: tuple[str, ...]
    until: float | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class StoreEach(Effect[None]):
    """Write many values under their keys. Raises as `Store` does."""

    raws: dict[str, bytes]
    until: float | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class LookupAlike(Effect[Any]):
    """Look for the answer to a question that means the same as `text`, within `scopes`.

    Raises what the cache raises, or TimeoutError.
    """

    text: str
    scopes: tuple[str, ...]
    until: float | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class StoreAlike(Effect[None]):
    """Keep `raw`, the answer whose text is `words`, for questions that mean the same as `text`."""

    text: str
    scope: str
    raw: bytes
    words: str
    until: float | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Sleep(Effect[None]):
    """Let `seconds` pass."""

    seconds: float


@dataclass(slots=True)
class Wait(Effect[None]):
    """Wait until `awaited` has happened (a flight has landed, a place is free), or the time is `until`."""

    awaited: Awaited
    until: float | None


@dataclass(slots=True)
class Reserve(Effect[Taken | Refused | Away]):
    """Take one call and `tokens` of limits that processes share. Raises as `store` does, or TimeoutError."""

    store: LimitStore
    scopes: tuple[Scope, ...]
    tokens: float
    until: float | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Call(Effect[Outcome]):
    """Ask an endpoint for a whole answer. Never raises."""

    attempt: Attempt


@dataclass(slots=True)
class Open(Effect["Outcome"]):
    """Open a stream and read up to its first token. Never raises; an OK outcome's value is a `Started`.

    `resume`: it takes over from a stream that broke, and only what is new of it is handed out.
    """

    attempt: Attempt
    resume: Resume | None = None


@dataclass(slots=True)
class Begin(Effect[Begun]):
    """Begin an attempt and do not wait for it: ask whole, or open a stream up to its first token."""

    attempt: Attempt
    streaming: bool


@dataclass(slots=True)
class Relay(Effect[Outcome]):
    """Hand a started stream to the consumer; answer when it has ended. Never raises.

    `hold`: hand it out only when it has ended well, whole.
    """

    started: Started
    hold: bool = False


@dataclass(slots=True)
class Fetch(Effect[Roster]):
    """Read a discovery source's whole roster once it differs from revision `after`. Raises as it does."""

    source: Discovery
    after: int | None


@dataclass(slots=True)
class Probe(Effect[list[tuple[Endpoint, Health | BaseException]]]):
    """Begin a check of each of `endpoints` and wait for none of them in particular.

    Answers what the checks begun so far have found since it was asked last, as soon as there is
    anything, or after `seconds`. Never raises: what a check raises is what it found.
    """

    check: HealthCheck
    endpoints: tuple[Endpoint, ...]
    seconds: float


@dataclass(slots=True)
class Started:
    """A stream that has delivered its first token: what was read so far, and the rest of it."""

    attempt: Attempt
    stream: Opened
    read: list[Any]
    rest: Any  # Iterator or AsyncIterator, by the driver's colour
    span: Any = None
    handed: float | None = None  # since when its consumer has had a chunk and has not asked for the next
