"""When must the next chunk be there? The same arithmetic for both drivers."""

from __future__ import annotations

from dataclasses import replace

from langchain_cluster.model.call import Attempt, Outcome, Verdict
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.ports import Opened


def first_token_by(attempt: Attempt, started: float) -> tuple[float | None, str]:
    """(when a stream's first token must be there, what to say if it is not)."""
    return _sooner(attempt, started, attempt.limits.first_token, "no first token within")


def next_chunk_by(attempt: Attempt, last: float) -> tuple[float | None, str]:
    """(when the next chunk must be there, what to say if it is not)."""
    return _sooner(attempt, last, attempt.limits.idle, "the stream stalled for")


def _sooner(attempt: Attempt, since: float, limit: float | None, words: str) -> tuple[float | None, str]:
    until = attempt.limits.until
    if limit is None or (until is not None and until <= since + limit):
        return until, "the time of the attempt was over"
    return since + limit, f"{words} {limit:g} s"


def too_late(endpoint: Endpoint, reason: str, seconds: float, first_token: float | None = None) -> Outcome:
    """The outcome of an attempt that was cut off by a limit of ours."""
    return Outcome(
        Verdict.TRANSIENT,
        seconds,
        first_token,
        error=TimeoutError(f"{endpoint.id}: {reason}"),
        reason=reason,
    )


def stalled(stream: Opened, error: TimeoutError, reason: str, now: float) -> Outcome:
    """The outcome of a stream whose next chunk did not come: by a limit of ours, or one of its client's."""
    if str(error):
        return stream.broke(error, now)
    outcome = stream.broke(TimeoutError(reason), now)
    return outcome if outcome.verdict is Verdict.OK else replace(outcome, reason=f"TimeoutError: {reason}")
