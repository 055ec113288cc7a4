"""What an exception from an endpoint means, told without importing any provider's SDK.

LangChain's `ModelError` tree first, then the HTTP status, then names. Providers disagree with each
other and with themselves: an exhausted quota arrives as a rate limit, a prompt that is too long as a
bad request, an error event inside a stream without any status, and a proxy's HTML page as a bare
`ValueError`.
"""

from __future__ import annotations

import asyncio
import email.utils
import math
import re
import time
from dataclasses import dataclass
from datetime import UTC

from langchain_core.exceptions import ContextOverflowError, ModelError

from langchain_cluster.errors import ClusterError, ConfigError
from langchain_cluster.model.call import Verdict

_TOO_LONG = re.compile(
    r"context[_ ]length|maximum context|context window|prompt is too long|too many (input )?tokens"
    r"|input tokens exceed|exceeds? the (available )?context|ContextWindowExceeded|maximum model length",
    re.IGNORECASE,
)
_OUT_OF_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)  # Anthropic's, a plain 400
_THROTTLING = re.compile(r"rate[_ ]?limit|too many requests", re.IGNORECASE)
_WRONG_WORD = re.compile(r"got an unexpected keyword argument|got multiple values for keyword argument")
_STALE_LOOP = re.compile(r"Event loop is closed|different (event )?loop", re.IGNORECASE)
_HUNG_UP = frozenset({"ServerDisconnectedError", "RemoteDisconnected"})  # aiohttp's, and http.client's
_LONGEST_CHAIN = 10  # causes of an error that are looked at
_CONNECTION = frozenset(
    {
        "APIConnectionError", "APITimeoutError", "TransportError", "RequestError", "ConnectError",
        "ReadTimeout", "RemoteProtocolError", "ServiceUnavailable", "DeadlineExceeded", "JSONDecodeError",
        "APIResponseValidationError", "ProtocolError",
    }
)  # fmt: skip
_UNUSABLE = frozenset({401, 402, 403, 404, 405, 410, 501})
_PASSING = frozenset({408, 409, 425})
_REFUSED = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on; `retry_after` in seconds."""

    verdict: Verdict
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None


def classify(error: BaseException, *, wall_clock: float | None = None) -> Judgement:
    """Judge `error`. `wall_clock` (epoch seconds) is what a Retry-After date counts from."""
    status, code = status_of(error), code_of(error)
    if status is None and code is not None and code.isdigit() and 400 <= int(code) < 600:
        status = int(code)  # an error event inside a stream says its status there
    verdict, retry_after = _verdict(error, status, code), retry_after_of(error, wall_clock)
    if status == 503 and retry_after is not None:
        verdict = Verdict.THROTTLED  # it is well enough to say when it can be asked again
    return Judgement(verdict, status, code, retry_after)


def _verdict(error: BaseException, status: int | None, code: str | None) -> Verdict:
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
        return Verdict.ABANDONED
    text = text_of(error)
    if isinstance(error, RuntimeError) and _STALE_LOOP.search(text):
        return Verdict.STALE_LOOP
    if isinstance(error, TypeError) and _WRONG_WORD.search(text):
        return Verdict.CALLER  # an argument of the call that the client does not know
    if isinstance(error, ContextOverflowError) or code == "context_length_exceeded":
        return Verdict.OVERFLOW
    if status is not None:
        return _by_status(status, code, text)
    if isinstance(error, ConfigError):
        return Verdict.CONFIG  # its model cannot be made
    if isinstance(error, ClusterError):
        return Verdict.TRANSIENT  # a cluster inside a cluster
    if isinstance(error, ModelError):
        if _TOO_LONG.search(text):
            return Verdict.OVERFLOW
        return Verdict.TRANSIENT if error.is_retryable else Verdict.CALLER
    if isinstance(error, OSError | asyncio.TimeoutError):
        return Verdict.TRANSIENT
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _CONNECTION:
        return Verdict.TRANSIENT
    if "APIError" in names:  # an error event in the middle of a stream
        if _TOO_LONG.search(text):
            return Verdict.OVERFLOW
        return Verdict.THROTTLED if _THROTTLING.search(f"{code} {text}") else Verdict.TRANSIENT
    # What is left is a bare exception of client code that met an answer it did not expect: HTML,
    # `choices: null`, half a JSON. Or a bug in a model's own code, which another endpoint may not have.
    return Verdict.TRANSIENT


def _by_status(status: int, code: str | None, text: str) -> Verdict:
    if status in _REFUSED:
        if _NO_CREDIT.search(text):
            return Verdict.CONFIG
        return Verdict.OVERFLOW if _TOO_LONG.search(text) else Verdict.CALLER
    if status in _UNUSABLE:
        return Verdict.CONFIG
    if status == 429:
        return Verdict.CONFIG if code in _OUT_OF_QUOTA else Verdict.THROTTLED
    if status in _PASSING or status >= 500:
        return Verdict.TRANSIENT
    return Verdict.CALLER if status >= 400 else Verdict.TRANSIENT


def hung_up(error: BaseException) -> bool:
    """Whether the server closed the connection without a word of an answer.

    That is what a client sees that asks on a connection it kept, and that the server closed meanwhile.
    """
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if cause is None:
            return False
        name = type(cause).__name__
        if name in _HUNG_UP or (name == "RemoteProtocolError" and "without sending a response" in str(cause)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def status_of(error: BaseException) -> int | None:
    """The HTTP status an exception carries, itself or on its response."""
    for carrier in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "http_status"):
            status = getattr(carrier, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and status >= 400:
                return status
    return None


def text_of(error: BaseException) -> str:
    """What an exception says. A body that is no JSON, as from a proxy, is not in the SDKs' message."""
    text = str(getattr(error, "message", None) or error)
    body = getattr(error, "body", None)
    return f"{text} {body}" if isinstance(body, str) and body not in text else text


def code_of(error: BaseException) -> str | None:
    """The provider's own error code: an attribute, or inside the error's body."""
    code = getattr(error, "code", None)
    body = getattr(error, "body", None)
    if code is None and isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            code = inner.get("code") or inner.get("type")
    return None if code is None else str(code)


def retry_after_of(error: BaseException, wall_clock: float | None = None) -> float | None:
    """Seconds the endpoint asked for, >= 0; None when it did not ask or wrote nonsense."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name)
        if given is None:
            continue
        try:
            seconds = float(given) * unit
        except ValueError:
            try:
                then = email.utils.parsedate_to_datetime(given)
            except (ValueError, OverflowError, TypeError):  # no date, or one of no calendar
                continue
            then = then if then.tzinfo else then.replace(tzinfo=UTC)  # HTTP dates are
            return max(0.0, then.timestamp() - (time.time() if wall_clock is None else wall_clock))
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None
