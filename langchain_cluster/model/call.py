"""What is asked, what came back, and who is blamed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint, Price, Role, labels_of, role_of

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Verdict(StrEnum):
    """What an attempt's end means for its endpoint and for the call.

    | verdict    | blames the endpoint  | next                                                        |
    |------------|----------------------|-------------------------------------------------------------|
    | OK         | no                   | done                                                        |
    | TRANSIENT  | yes                  | elsewhere at once                                           |
    | THROTTLED  | no, cools down       | elsewhere at once, else wait within the deadline            |
    | CONFIG     | opens at once        | elsewhere                                                   |
    | OVERFLOW   | no                   | only where the window is larger, else raise                 |
    | CALLER     | no                   | raise                                                       |
    | STALE_LOOP | no                   | the same endpoint again, bounded: a pooled connection died  |
    | ABANDONED  | no                   | nothing (cancelled, left, a hedge lost); elsewhere if moved |
    """

    OK = "ok"
    TRANSIENT = "transient"
    THROTTLED = "throttled"
    CONFIG = "config"
    OVERFLOW = "overflow"
    CALLER = "caller"
    STALE_LOOP = "stale_loop"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; `cached_tokens` is the part of the input the endpoint had computed before."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    def cost(self, price: Price) -> float:
        """USD for these tokens at `price`."""
        cached_price = price.input if price.cached_input is None else price.cached_input
        fresh = max(0, self.input_tokens - self.cached_tokens)
        return (
            fresh * price.input + self.cached_tokens * cached_price + self.output_tokens * price.output
        ) / 1e6


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a question may be compared by.

    Args:
        text: what the user said last; compared by what it means.
        scope: digest of all the rest that determines the answer, but the model; has to be equal.
    """

    text: str = field(repr=False)
    scope: str


@dataclass(frozen=True, slots=True)
class Request:
    """One logical call, as routing and balancing see it.

    Args:
        key: affinity; calls with one key stay on one endpoint where the balancer can do that.
        role: what is asked for.
        tags: labels an endpoint must carry, all of them.
        zone: preferred zone. tier: demanded tier. model: demanded value of the metadata key "model".
        tenant: whose call this is; part of every cache key.
        agent: name of the agent that asks, for policy and traces.
        priority: "critical", "normal" or "sheddable".
        needs: capabilities an endpoint must not be known to lack ("tools", "vision", ...).
        tokens: the fewest the prompt can have, for endpoints with a context window; None: not estimated.
        reserve: tokens of the window that the answer was promised.
        payload: what the endpoint is given; opaque to every decision.
        fingerprint: digest of all that determines the answer but the model; None: not cacheable.
        meaning: what it may be compared by with others that mean the same; None: with none.
        prefix: the text the prompt begins with: what is likely to be cached where it was seen before.
        keep_calls: whether its answer may be cached even with tool calls.
        prefix_digest: what the balancer made of `prefix` for `model`; None: it has not been asked yet.
        prompt_tokens: the fewest the prompt can have, for endpoints with `max_tpm`.
        answer_tokens: the most the answer may have, for those; None: nobody says.
    """

    key: str | None = None
    role: Role = Role.LLM
    tags: frozenset[str] = frozenset()
    zone: str | None = None
    tier: str | None = None
    model: str | None = None
    tenant: str | None = None
    agent: str | None = None
    priority: str = "normal"
    needs: frozenset[str] = frozenset()
    tokens: int | None = None
    reserve: int = 0
    payload: Any = field(default=None, repr=False)
    fingerprint: str | None = None
    prefix: str | None = field(default=None, repr=False)
    prompt_tokens: int = 0
    answer_tokens: int | None = None
    meaning: Meaning | None = None
    prefix_digest: int | None = None
    keep_calls: bool = False

    def __post_init__(self) -> None:
        if type(self.role) is not Role:
            object.__setattr__(self, "role", role_of(self.role, "request"))
        if type(self.tags) is not frozenset:
            object.__setattr__(self, "tags", frozenset(labels_of(self.tags, "request", "tags")))
        if type(self.needs) is not frozenset:
            object.__setattr__(self, "needs", frozenset(labels_of(self.needs, "request", "needs")))
        if self.tokens is not None or self.reserve:
            for name in ("tokens", "reserve"):
                value = getattr(self, name)
                if value is not None and (type(value) is not int or value < 0):
                    raise ConfigError(f"{name} {value!r} is not an integer >= 0", key="request")

    @property
    def particular(self) -> bool:
        """Whether some endpoints may not serve this request."""
        return bool(self.tags or self.tier or self.model or self.needs or self.role is not Role.LLM)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long parts of one attempt may take, seconds; None: unbounded.

    `until` and `deadline` are absolute times: of the attempt, and of the whole call.
    """

    until: float | None = None
    connect: float | None = None
    first_token: float | None = None
    idle: float | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one request on one endpoint; `number` counts from 1 within the call."""

    number: int
    endpoint: Endpoint
    request: Request
    limits: Limits
    inline: bool = False  # answers without blocking: the blocking driver may run it in place


@dataclass(frozen=True, slots=True)
class Resume:
    """What a stream that takes over from a broken one begins with: the text handed out already.

    `prefill`: the endpoint is given it as the beginning of its answer; else it is asked anew.
    `parts`: the messages of those that broke, as far as they came.
    """

    delivered: str = field(repr=False)
    prefill: bool = False
    parts: tuple[Any, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """What has come of a stream so far: also of one that is left, of which there is no `Outcome`.

    Args:
        chunks: all of them, as they were received.
    """

    first_token_seconds: float | None
    usage: Usage | None
    chunks: Sequence[Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. A value: what an endpoint did wrong is never thrown between decisions.

    Args:
        verdict: see `Verdict`.
        seconds: from asking to the end. first_token_seconds: to the first token, if streamed.
        value: the answer. error: what was raised. reason: one short clause for notes and events.
        retry_after: seconds the endpoint asked to be left alone.
        status: HTTP status, if there was one.
        storable: whether an OK answer may be cached: it is whole, and not cut at a limit or filtered.
        recalled: an abandoned attempt that was called back, for the call to go on elsewhere.
        outrun_after: seconds after which another attempt was quicker than this one.
        hung_up: the server closed the connection without a word of an answer.
    """

    verdict: Verdict
    seconds: float = 0.0
    first_token_seconds: float | None = None
    usage: Usage | None = None
    value: Any = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)
    reason: str = ""
    retry_after: float | None = None
    status: int | None = None
    storable: bool = True
    recalled: bool = False
    outrun_after: float | None = None
    hung_up: bool = False

    @classmethod
    def ok(
        cls,
        *,
        seconds: float = 0.0,
        first_token_seconds: float | None = None,
        usage: Usage | None = None,
        value: Any = None,
        storable: bool = True,
    ) -> Outcome:
        """A complete answer."""
        return cls(Verdict.OK, seconds, first_token_seconds, usage, value, storable=storable)

    @classmethod
    def failed(
        cls, error: BaseException | str | None = None, *, seconds: float = 0.0, status: int | None = None
    ) -> Outcome:
        """The endpoint's fault, and it may pass."""
        return cls._bad(Verdict.TRANSIENT, error, seconds=seconds, status=status)

    @classmethod
    def throttled(
        cls,
        retry_after: float | None = None,
        *,
        error: BaseException | str | None = None,
        seconds: float = 0.0,
        status: int | None = 429,
    ) -> Outcome:
        """The endpoint is well and asks to be left alone for `retry_after` seconds."""
        outcome = cls._bad(Verdict.THROTTLED, error or "throttled", seconds=seconds, status=status)
        return replace(outcome, retry_after=retry_after)

    @classmethod
    def misconfigured(
        cls, error: BaseException | str | None = None, *, seconds: float = 0.0, status: int | None = None
    ) -> Outcome:
        """The endpoint cannot work until somebody acts: a bad key, an unknown model, no quota left."""
        return cls._bad(Verdict.CONFIG, error, seconds=seconds, status=status)

    @classmethod
    def rejected(cls, error: BaseException | str | None = None, *, seconds: float = 0.0) -> Outcome:
        """The caller's fault: the same question fails everywhere."""
        return cls._bad(Verdict.CALLER, error, seconds=seconds)

    @classmethod
    def abandoned(cls, *, seconds: float = 0.0) -> Outcome:
        """Nobody waited for the end; it says nothing about the endpoint."""
        return cls(Verdict.ABANDONED, seconds, reason="abandoned")

    @classmethod
    def outrun(cls, *, seconds: float) -> Outcome:
        """Another attempt of the call was quicker. Nobody is blamed; it takes at least `seconds`."""
        return cls(Verdict.ABANDONED, seconds, reason="another attempt was quicker", outrun_after=seconds)

    @classmethod
    def _bad(
        cls, verdict: Verdict, error: BaseException | str | None, *, seconds: float, status: int | None = None
    ) -> Outcome:
        if error is None or isinstance(error, str):
            error = RuntimeError(error or verdict.value)
        reason = str(error) or type(error).__name__
        return cls(verdict, seconds, error=error, reason=reason[:200], status=status)


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """What users see of one attempt: in notes, in `ClusterExhausted.attempts`, in events."""

    number: int
    endpoint: str
    verdict: Verdict
    seconds: float
    reason: str
    error: BaseException | None = field(default=None, repr=False)  # its text may quote anything

    def __str__(self) -> str:
        return f"attempt {self.number} on {self.endpoint}: {self.reason} after {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended well.

    `source` is where the value came from: "miss" (an endpoint), a cache layer's name, or "off" (an
    endpoint, no cache asked). `cost` is in USD, None without a price. `degraded` is the step of the
    policy's ladder that gave it, None for an answer as it should be.
    """

    value: Any = field(repr=False)
    source: str
    endpoint: str | None = None
    tier: str = "default"
    attempts: int = 0
    hedged: bool = False
    seconds: float = 0.0
    cost: float | None = None
    usage: Usage | None = None
    delivered: bool = False  # its chunks were handed out already
    storable: bool = True  # it may be cached
    queue_seconds: float = field(default=0.0, kw_only=True)  # it waited for a place
    first_token_seconds: float | None = None
    degraded: str | None = None

    def as_metadata(self) -> dict[str, Any]:
        """What `message.response_metadata["cluster"]` holds; "degraded" only when it is."""
        degraded = {} if self.degraded is None else {"degraded": self.degraded}
        return {
            "endpoint": self.endpoint,
            "attempts": self.attempts,
            "cache": self.source,
            "tier": self.tier,
            "hedged": self.hedged,
            "seconds": self.seconds,
            "cost_usd": self.cost,
            **({"queue_seconds": self.queue_seconds} if self.queue_seconds else {}),
            **degraded,
        }
