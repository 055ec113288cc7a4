"""What users may choose about guarding a call: frozen values with units, ranges and safe defaults.

`None` switches a guard off. Durations are float seconds; a text such as "15s" is read too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_random_exponential

from langchain_cluster.model.label import MOST_TAGS
from langchain_cluster.model.strict import Seconds, Strict


class BreakerPolicy(Strict):
    """When an endpoint is left alone, and for how long (Resilience4j's states).

    Opens at `failure_rate` of at least `min_calls` calls in the window, or after
    `consecutive_failures` in a row, or when `slow_call_rate` of the calls took longer than
    `slow_call_seconds`. The window is the last `window` seconds, or with `window_calls` the last so many
    calls, however long ago; then `window` is None, and `min_calls` no more than there are. Stays open
    `open_for` seconds, doubled for each opening in a row up to `max_open`, with equal jitter; then lets
    exactly `half_open_probes` calls try. A probe that has not reported after `probe_expires` seconds
    gives its place to another: choose it longer than the longest call.
    """

    window: Seconds | None = 30.0
    window_calls: int | None = Field(None, ge=1, le=1_000_000, strict=True)
    failure_rate: float = Field(0.5, gt=0, le=1)
    min_calls: int = Field(10, ge=1)
    consecutive_failures: int | None = Field(5, ge=1)
    slow_call_seconds: Seconds | None = None
    slow_call_rate: float = Field(0.8, gt=0, le=1)
    open_for: Seconds = 5.0
    max_open: Seconds = 300.0
    half_open_probes: int = Field(1, ge=1)
    probe_expires: Seconds = 60.0

    @model_validator(mode="before")
    @classmethod
    def _one_window(cls, given: Any) -> Any:
        """Who counts calls means no seconds, and cannot wait for more calls than are counted."""
        if not isinstance(given, dict) or given.get("window_calls") is None:
            return given
        calls = given["window_calls"]
        fewest = {"min_calls": min(calls, 10)} if type(calls) is int and calls >= 1 else {}
        return {"window": None, **fewest, **given}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.window is not None and self.window_calls is not None:
            raise ValueError(
                f"window {self.window:g} s and window_calls {self.window_calls} contradict each other:"
                " give one of them"
            )
        if self.window is None and self.window_calls is None:
            raise ValueError("window is missing: give seconds, or window_calls")
        if self.window_calls is not None and self.min_calls > self.window_calls:
            raise ValueError(
                f"min_calls {self.min_calls} is more than window_calls {self.window_calls}:"
                " the rates would never be looked at"
            )
        if self.max_open < self.open_for:
            raise ValueError(f"max_open {self.max_open:g} s is shorter than open_for {self.open_for:g} s")
        return self


class OutlierPolicy(Strict):
    """When an endpoint that does worse than its peers is taken out for a while (Envoy, gRPC A50).

    Ejected after `consecutive_failures`, or at `failure_rate` of at least `min_calls` calls within
    `window` seconds, for `ejection` seconds times the number of ejections so far, at most
    `max_ejection`. Never more than `max_percent` of the pool, never the last endpoint.
    """

    consecutive_failures: int | None = Field(5, ge=1)
    failure_rate: float = Field(0.5, gt=0, le=1)
    min_calls: int = Field(20, ge=1)
    window: Seconds = 30.0
    ejection: Seconds = 30.0
    max_ejection: Seconds = 300.0
    max_percent: float = Field(50, ge=0, le=100)


class SlowStartPolicy(Strict):
    """How an endpoint that joins a running pool warms up: from `floor` of its weight to all of it.

    `window`: seconds until it has its whole share. `floor`: the part it begins with, 0-1.
    """

    window: Seconds = 30.0
    floor: float = Field(0.1, gt=0, le=1)


class Quota(Strict):
    """What the endpoints of one quota group may be asked together: calls and tokens in any minute."""

    max_rpm: int | None = Field(None, ge=1, strict=True)
    max_tpm: int | None = Field(None, ge=1, strict=True)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_rpm is None and self.max_tpm is None:
            raise ValueError("a quota has no limit: give max_rpm, max_tpm or both")
        return self


class ConcurrencyPolicy(Strict):
    """How many calls at once an endpoint is found to bear (AIMD, as TCP finds its rate).

    Each endpoint begins with `initial` calls at once, which should be no more than it surely bears. An
    answer that ends while the limit is used adds one over the limit to it, so one for each round of
    calls; before it was lowered for the first time, one each. A 429, a 503, a timeout, or first tokens
    that take `slow` times their least of the last `window` seconds multiply it by `decrease`, once for
    all calls that were under way. It stays between `least` and `most`, and within `max_connections`.
    """

    initial: int = Field(4, ge=1, strict=True)
    least: int = Field(1, ge=1, strict=True)
    most: int = Field(1000, ge=1, strict=True)
    decrease: float = Field(0.9, gt=0, lt=1)
    slow: float = Field(1.5, gt=1, allow_inf_nan=False)
    window: Seconds = 300.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.least <= self.initial <= self.most:
            raise ValueError(f"initial {self.initial} is not between least {self.least} and most {self.most}")
        return self


class ThrottlePolicy(Strict):
    """When calls are refused here because those before them were refused there (Google's SRE book).

    A call is refused with a chance of (requests - ratio * accepts) / (requests + 1), counted over
    `window` seconds, and at most `most`: what is let through finds out when it is over.
    """

    ratio: float = Field(2.0, gt=1, allow_inf_nan=False)
    window: Seconds = 30.0
    most: float = Field(0.8, gt=0, lt=1)


class QueuePolicy(Strict):
    """How many calls wait for a place when every endpoint is at a limit, and for how long.

    size: calls that wait at most, 0 for none. One more is `Overloaded`, or takes the place of a call of
        a lower priority, or of a tenant that has more waiting.
    timeout: seconds a call waits at most, beside its own time; then it is `Overloaded`.
    """

    size: int = Field(10_000, ge=0, strict=True)
    timeout: Seconds | None = None


class HedgePolicy(Strict):
    """When a second attempt begins beside a slow first one (Dean and Barroso, The Tail at Scale).

    after: seconds without an answer (a stream: without its first token), or a quantile of how long they
        took lately, "p50" to "p99.9"; while fewer than twenty are known, nothing is hedged.
    max_extra: second attempts per call, on average over ten seconds, 0-1; one is always allowed.
    """

    after: Seconds | Annotated[str, Field(pattern=r"^p(50|[5-9]\d(\.\d+)?)$")] = "p95"
    max_extra: float = Field(0.05, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _only_after(cls, given: Any) -> Any:
        """A length of time or a quantile alone is the `after`."""
        return given if isinstance(given, dict | HedgePolicy) or given is None else {"after": given}

    @property
    def seconds(self) -> float | None:
        """How long to wait, None when it goes by a quantile."""
        return None if isinstance(self.after, str) else self.after

    @property
    def quantile(self) -> float:
        """Of how long answers took lately, 0-1; 1 when it goes by seconds."""
        return float(self.after[1:]) / 100.0 if isinstance(self.after, str) else 1.0


Step = Literal["stale_cache", "cheaper_tier", "static_answer", "raise"]


class Policy(Strict):
    """What one call may cost in tries and time.

    Args:
        attempts: tries in all, on different endpoints while there are any untried.
        timeout: total time of the call, queueing and retries included; None is unbounded.
        attempt_timeout: time of one attempt; the rest of `timeout` if None.
        connect_timeout: time to connect, where the endpoint's client can be told.
        first_token_timeout: time until a stream's first token.
        idle_timeout: time between two chunks of a stream.
        wait: a tenacity wait strategy: how long before the same endpoint is asked again. Another
            endpoint is asked at once.
        stop: a tenacity stop strategy: when no further attempt is made, besides `attempts`.
        retry_budget: retries allowed per call, on average, over ten seconds (plus 3 a second): 0.2
            means one in five. None: no bound. Finagle's and tower's rule.
        hedge: when a second attempt begins beside a slow first one: a `HedgePolicy`, or its `after`
            alone. It is one of the `attempts`, and paid from the `retry_budget`.
        recover: what happens when a stream breaks after its first token. "fail": the consumer gets
            `StreamInterrupted` with the message so far. "resume": another endpoint goes on with it, if
            its answer is the same so far. "buffer": a stream is handed out only when it is whole.
        cache: True answers from the cache and fills it, False leaves it alone, "refresh" asks an
            endpoint and replaces the cached answer.
        degrade: what answers when nobody healthy is left, in order: "stale_cache" (an answer that was
            cached within `stale_for`), "cheaper_tier" (the next of `tiers`, or by price),
            "static_answer" (that text), "raise". Empty: the error is raised.
        static_answer: the text of that step. tiers: from the best to the cheapest.
        stale_for: how long a copy of a cached answer is kept for "stale_cache".
        fresh_for: how old a cached answer may be; None: as old as the cache lets it get.
        stale_while_revalidate: for how long an answer older than that is still given at once, while it is
            asked anew beside the call, once for all processes of one Redis.
        refresh_ahead: part of `fresh_for` after which an answer that is asked for often is asked anew beside
            the call, between 0 and 1.
        cache_tags: under which answers can be taken back from the cache, at most 16.
        cache_tool_calls: whether answers with tool calls are cached. None: those of agents (and of graphs)
            are, and those of calls that ask for the cache by `cache=True`.
    """

    attempts: int = Field(3, ge=1)
    timeout: Seconds | None = 60.0
    attempt_timeout: Seconds | None = None
    connect_timeout: Seconds | None = 5.0
    first_token_timeout: Seconds | None = None
    idle_timeout: Seconds | None = 30.0
    wait: wait_base | Callable[[Any], float] = Field(
        default_factory=lambda: wait_random_exponential(0.25, 10.0)
    )
    stop: stop_base | Callable[[Any], bool] | None = None
    retry_budget: float | None = Field(0.2, ge=0)
    hedge: HedgePolicy | None = None
    recover: Literal["fail", "resume", "buffer"] = "fail"
    cache: bool | Literal["refresh"] = True
    degrade: tuple[Step, ...] = ()
    static_answer: str | None = None
    tiers: tuple[str, ...] = ()
    stale_for: Seconds = 86_400.0
    fresh_for: Seconds | None = None
    stale_while_revalidate: Seconds | None = None
    refresh_ahead: float | None = Field(None, gt=0, lt=1)
    cache_tags: tuple[str, ...] = Field((), max_length=MOST_TAGS)
    cache_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _aged(self) -> Self:
        for name in ("stale_while_revalidate", "refresh_ahead"):
            if getattr(self, name) is not None and self.fresh_for is None:
                raise ValueError(f"{name} goes by the age of answers: give fresh_for as well")
        return self

    @model_validator(mode="after")
    def _ladder(self) -> Self:
        steps = self.degrade
        if len(set(steps)) < len(steps):
            raise ValueError("degrade names a step twice")
        if "raise" in steps[:-1]:
            raise ValueError('degrade goes on after "raise", which ends it')
        if ("static_answer" in steps) is not (self.static_answer is not None):
            told = "is named in degrade" if "static_answer" in steps else "has a text"
            raise ValueError(f"static_answer {told}: give both the step and the text, or neither")
        if len(set(self.tiers)) < len(self.tiers):
            raise ValueError("tiers names one twice")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("attempt_timeout", "first_token_timeout"):
            part = getattr(self, name)
            if part is not None and self.timeout is not None and part > self.timeout:
                raise ValueError(f"{name} {part:g} s is longer than timeout {self.timeout:g} s")
        if self.hedge is not None and self.attempts < 2:
            raise ValueError("hedge is a second attempt, and attempts is 1: allow 2, or leave it out")
        return self

    def but(self, **overrides: Any) -> Policy:
        """This policy with some values changed, validated again.

        Raises:
            ConfigError: an unknown name or a value that is not valid.
        """
        return Policy(**{name: getattr(self, name) for name in self.model_fields_set} | overrides)

    def within(self, timeout: float | str) -> Policy:
        """This policy for a call that has `timeout` seconds; its parts have no more than the whole."""
        changed = self.but(timeout=timeout, attempt_timeout=None, first_token_timeout=None)
        whole = changed.timeout
        parts = {
            name: min(part, whole)
            for name in ("attempt_timeout", "first_token_timeout")
            if (part := getattr(self, name)) is not None and whole is not None
        }
        return changed.but(**parts) if parts else changed
