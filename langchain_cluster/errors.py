"""Every exception the library raises, and when.

    ClusterError(Exception)
    ├── ConfigError               what you wrote is not valid: where, what, and what would be
    ├── NoEndpointAvailable       nobody may be asked now; .retry_after seconds, .why per endpoint
    ├── ClusterExhausted          everybody who may be asked was; .attempts, __cause__ the last
    ├── CircuitOpen               a circuit breaker used alone refuses; .retry_after, .state, .name
    ├── Overloaded                shed by a limit or a full queue; .retry_after seconds
    ├── BudgetExceeded            no money left for it; .scope .limit .spent .held .resets_at
    ├── DeadlineExceeded          .after seconds, .attempts         (also TimeoutError, not retryable)
    ├── StreamInterrupted         .partial (the message so far), .endpoint
    ├── DiscoveryError            a registry could not be read or written: stale, keep the last; .source
    ├── CacheUnavailable          a cache cannot be asked; a call goes on without it; .where
    └── PluginError               no such balancer, discovery ...; .kind, .available

`NoEndpointAvailable` and `ClusterExhausted` are LangChain `ModelError`s that say "not retryable", and
`RuntimeError`s: middleware retries any retryable `ModelError` and LangGraph retries any that is no
`RuntimeError`, and what has been retried three times here must not be retried three times over.

A provider's own exception is let through as itself when it is the only thing that went wrong, with
one note per attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import ModelError

if TYPE_CHECKING:
    from langchain_cluster.model.call import AttemptReport


class ClusterError(Exception):
    """The root: `except ClusterError` catches whatever this library raises of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is copied and pickled as its class called with its text, and ours take facts.
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[ClusterError], args: tuple[Any, ...]) -> ClusterError:
    error = kind.__new__(kind)
    error.args = args
    return error


class ConfigError(ClusterError, ValueError):
    """Something written by the user is not valid.

    Args:
        problem: what is wrong, in one sentence.
        file: the file it was read from, if any.
        key: the dotted path of the offending value, if any.
        valid: what would be valid.
        got: the offending text, to suggest the nearest valid name. Never pass a secret.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        key: str | None = None,
        valid: Sequence[str] = (),
        got: str | None = None,
    ) -> None:
        self.problem, self.file, self.key, self.valid = problem, file, key, tuple(valid)
        where = ": ".join(part for part in (file, key) if part)
        text = f"{where}: {problem}" if where else problem
        if self.valid:
            text += f": expected one of {', '.join(self.valid)}"
            near = get_close_matches(got or "", self.valid, n=1)
            if near:
                text += f"; did you mean {near[0]!r}?"
        super().__init__(text)


class NoEndpointAvailable(ClusterError, ModelError, RuntimeError):
    """Nobody may be asked now.

    Attributes:
        retry_after: seconds until the first endpoint may be asked again, None if nobody can tell.
        why: endpoint id -> the reason it was left out.
    """

    is_retryable = False

    def __init__(
        self,
        message: str = "no endpoint available",
        *,
        retry_after: float | None = None,
        why: Mapping[str, str] | None = None,
    ) -> None:
        self.retry_after, self.why = retry_after, dict(why or {})
        if self.why:
            shown = [f"{id}: {reason}" for id, reason in list(self.why.items())[:8]]
            more = len(self.why) - len(shown)
            message += f" ({'; '.join(shown)}{f'; and {more} more' if more else ''})"
        if retry_after is not None:
            message += f"; the first may be asked again in {retry_after:.1f} s"
        super().__init__(message)


class ClusterExhausted(ClusterError, ModelError, RuntimeError):
    """Several endpoints were asked and none gave a complete answer.

    Attributes:
        attempts: one `AttemptReport` per attempt, in order.
    """

    is_retryable = False

    def __init__(self, attempts: Sequence[AttemptReport], message: str | None = None) -> None:
        self.attempts = tuple(attempts)
        told = "; ".join(str(attempt) for attempt in self.attempts)
        super().__init__(message or f"no endpoint gave a complete answer: {told}")


class CircuitOpen(ClusterError, RuntimeError):
    """A circuit breaker that is used alone refuses the call: nobody was asked.

    Attributes:
        retry_after: seconds until a call may be let through, None if nobody can tell.
        state: the breaker's state: "open", "half_open" (its probes are under way) or "forced_open".
        name: the breaker's name, "" if it has none.
    """

    def __init__(
        self, state: str, *, retry_after: float | None = None, name: str = "", reason: str = ""
    ) -> None:
        self.state, self.retry_after, self.name = state, retry_after, name
        message = f"circuit {name!r} is" if name else "the circuit is"
        message += f" {state.replace('_', ' ')}"
        if reason:
            message += f" ({reason})"
        if retry_after is not None:
            message += f"; it may be asked again in {retry_after:.1f} s"
        super().__init__(message)


class Overloaded(ClusterError):
    """Shed before anybody was asked; `retry_after` is in seconds, None if unknown."""

    def __init__(self, message: str = "overloaded", *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class BudgetExceeded(ClusterError):
    """Whoever could answer costs more than is left of a budget; nobody was asked.

    Attributes:
        scope: whose budget: "cluster", "agent planner", "tenant acme".
        limit, spent: of it, USD. held: what is set aside for calls under way, USD.
        resets_at: when it begins anew, seconds since 1970; None if it never does.
    """

    def __init__(
        self, scope: str, *, limit: float, spent: float, resets_at: float | None = None, held: float = 0.0
    ) -> None:
        self.scope, self.limit, self.spent, self.resets_at, self.held = scope, limit, spent, resets_at, held
        much = "is spent" if spent + held >= limit - 1e-9 else "has too little left for this call"
        told = f"budget of {scope} {much}: {spent:g} of {limit:g} USD"
        if held > 0:
            told += f", and {held:g} set aside for calls under way"
        if resets_at is not None:
            told += f"; it begins anew at {_moment(resets_at)}"
        super().__init__(told)


def _moment(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):  # of no calendar
        return f"{at:g} s after 1970"


class DeadlineExceeded(ClusterError, ModelError, TimeoutError):
    """The call's total time is over. Middleware must not give it that time again: not retryable.

    Attributes:
        after: the whole time the call was given, seconds.
        attempts: one `AttemptReport` per attempt made until then.
    """

    is_retryable = False

    def __init__(self, after: float, attempts: Sequence[AttemptReport] = ()) -> None:
        self.after, self.attempts = after, tuple(attempts)
        told = "; ".join(str(attempt) for attempt in self.attempts) or "nobody was asked"
        super().__init__(f"no complete answer within {after:g} s: {told}")


class StreamInterrupted(ClusterError):
    """A stream broke after its first token was handed out.

    Attributes:
        partial: the message so far (an `AIMessageChunk`), None if it could not be put together.
        endpoint: id of the endpoint whose stream broke.
    """

    def __init__(self, endpoint: str, reason: str, *, partial: Any = None) -> None:
        self.endpoint, self.partial = endpoint, partial
        super().__init__(f"the stream of {endpoint} broke after its first token: {reason}")


class DiscoveryError(ClusterError):
    """A registry could not be read or written; whoever watches it keeps the last roster.

    Attributes:
        source: the discovery or registrar, as it is told apart from others.
    """

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        super().__init__(f"{source}: {reason}")


class CacheUnavailable(ClusterError):
    """A cache cannot be asked. Who uses the store itself sees it; to a call it is a miss and an event.

    Attributes:
        where: its address, without a password.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(f"{where}: {reason}")


class PluginError(ConfigError):
    """No such `kind` of balancer, discovery ...: `available` lists the kinds there are."""

    def __init__(self, seam: str, kind: str, available: Sequence[str]) -> None:
        self.kind, self.available = kind, tuple(available)
        super().__init__(f"unknown {seam} {kind!r}", valid=sorted(available), got=kind)
