"""Every fault of the simulated server, through every face: one whole answer, or one clear error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError

from langchain_cluster import Policy, StreamInterrupted
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.testing import SimulatedServer, faults
from tests.faces.faces import STREAMED, WHOLE, Face, Heard, at_rest, cluster_of, pair, text_of

LIMIT = 0.3  # seconds until a silent endpoint is given up
GENEROUS = 6.0  # seconds: an upper bound on a busy machine for what takes milliseconds on an idle one
QUICK = Policy(
    timeout=20.0,
    attempt_timeout=LIMIT * 2,
    first_token_timeout=LIMIT,
    idle_timeout=LIMIT,
    connect_timeout=2.0,
)
QUESTION = "please repeat all of these words to me in one go"
WHOLE_ANSWER = f"good says: {QUESTION}"
BAD_ANSWER = f"bad says: {QUESTION}"

FAILS_OVER = "fails over"  # the healthy endpoint's whole answer
RAISES = "raises"  # the provider's own error; nobody else is asked
ANSWERS = "answers"  # the first endpoint's own whole answer: the fault does no harm
INTERRUPTED = "interrupted"  # StreamInterrupted, with what was received


@dataclass(frozen=True)
class Case:
    """What a fault leads to, whole and streamed, and what its endpoint is told to have done."""

    fault: faults.Fault
    verdict: str | None
    whole: str = FAILS_OVER
    streamed: str = FAILS_OVER
    raises: Any = Exception

    def __str__(self) -> str:
        return repr(self.fault).replace("headers={}", "").replace("body=None, ", "").replace(" ", "")


def both(
    fault: faults.Fault, verdict: str | None, outcome: str = FAILS_OVER, raises: Any = Exception
) -> Case:
    return Case(fault, verdict, outcome, outcome, raises)


CASES = [
    *(both(faults.Status(status), "transient") for status in (408, 409, 500, 502, 503, 504, 529)),
    both(faults.Status(502, "<html>Bad gateway</html>"), "transient"),
    both(faults.Status(503, headers={"retry-after": "2"}), "throttled"),
    *(both(faults.Status(status), "config") for status in (401, 403, 404)),
    both(faults.InsufficientQuota(), "config"),
    both(faults.RateLimited(), "throttled"),
    both(faults.RateLimited(2), "throttled"),
    both(faults.RateLimited(retry_after_ms=1500), "throttled"),
    *(both(faults.Status(status), "caller", RAISES) for status in (400, 413, 422)),
    both(faults.ContentFilter(), "caller", RAISES),
    both(faults.ContentFilter(finish=True), None, ANSWERS),
    *(
        both(faults.ContextOverflow(style), "overflow", RAISES, ContextOverflowError)
        for style in (None, "openai", "vllm", "anthropic")
    ),
    both(faults.Refuse(), "transient"),
    both(faults.Html(), "transient"),
    both(faults.EmptyBody(), "transient"),
    both(faults.NullChoices(), "transient"),
    both(faults.HalfJson(), "transient"),
    both(faults.ErrorBody(), "transient"),
    *(
        Case(fault(0), "transient")
        for fault in (faults.ResetAfter, faults.CutAfter, faults.ChunkedCutAfter, faults.MalformedChunk)
    ),
    Case(faults.ErrorEvent(0), "transient"),
    *(
        Case(fault(4), "transient", FAILS_OVER, INTERRUPTED)
        for fault in (
            faults.ResetAfter,
            faults.CutAfter,
            faults.ChunkedCutAfter,
            faults.MalformedChunk,
            faults.ErrorEvent,
        )
    ),
    both(faults.NoDone(), None, ANSWERS),
    both(faults.NoDone(close=True), None, ANSWERS),
]

SILENT = [
    both(faults.Hang(), "transient"),
    both(faults.SlowFirstToken(30.0), "transient"),
    Case(faults.StallAfter(0), "transient"),
    Case(faults.StallAfter(4), "transient", FAILS_OVER, INTERRUPTED),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_leads_to_one_whole_answer_or_one_clear_error(
    case: Case, face: Face, server: SimulatedServer, openai: Callable[[str], Any]
) -> None:
    check(case, face, server, openai, within=(0.0, GENEROUS))


@pytest.mark.parametrize("name", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_faults_lead_to_the_same_when_the_endpoints_speak_anthropic(
    case: Case, name: str, runner: Any, server: SimulatedServer, anthropic: Callable[[str], Any]
) -> None:
    check(case, Face(name, runner), server, anthropic, within=(0.0, GENEROUS))


@pytest.mark.parametrize("case", SILENT, ids=str)
def test_a_silent_endpoint_is_given_up_at_its_limit(
    case: Case, face: Face, server: SimulatedServer, openai: Callable[[str], Any]
) -> None:
    limit = LIMIT if face.streams else LIMIT * 2
    check(case, face, server, openai, within=(limit * 0.9, limit + GENEROUS))


def check(
    case: Case,
    face: Face,
    server: SimulatedServer,
    model: Callable[[str], Any],
    *,
    within: tuple[float, float],
) -> None:
    server.fail(case.fault, endpoint="bad")
    llm = pair(model("bad"), model("good"), policy=QUICK)
    heard = Heard(llm)
    expected = case.streamed if face.streams else case.whole
    started = time.monotonic()
    if expected in (FAILS_OVER, ANSWERS):
        message = face.ask(llm, QUESTION)
        answers(expected, message, face)
    elif expected == RAISES:
        with pytest.raises(case.raises) as failure:
            face.ask(llm, QUESTION)
        raised = failure.value
        assert any(note.startswith("attempt 1 on bad: ") for note in raised.__notes__)
        assert not face.received
        if case.raises is Exception:
            assert "openai" in type(raised).__module__ or "anthropic" in type(raised).__module__
    else:
        with pytest.raises(StreamInterrupted) as interrupted:
            face.ask(llm, QUESTION)
        is_interrupted(interrupted.value, face)
    took = time.monotonic() - started
    assert within[0] <= took < within[1]

    assert server.count("bad") == 1, "a fault is seen once, by whoever asks"
    assert server.count("good") == (expected == FAILS_OVER)
    assert heard.verdicts == ([("bad", case.verdict)] if case.verdict else [])
    bad = llm.cluster.pool.get("bad")
    assert bad.failed == (case.verdict in ("transient", "config"))
    assert (bad.breaker_state is BreakerState.OPEN) == (case.verdict == "config"), "opens at once"
    assert (bad.cooling_until > 0) == (case.verdict == "throttled")
    assert at_rest(llm, server)
    if face.awaited:
        assert not face.leftovers()
    llm.cluster.close()


def answers(expected: str, message: Any, face: Face) -> None:
    by, attempts = ("good", 2) if expected == FAILS_OVER else ("bad", 1)
    said = WHOLE_ANSWER if by == "good" else BAD_ANSWER
    assert text_of(message) == said
    where = cluster_of(message)
    assert (where["endpoint"], where["attempts"], where["cache"]) == (by, attempts, "off")
    assert message.usage_metadata["output_tokens"] > 0
    if face.streams:
        assert sum("cluster" in chunk.response_metadata for chunk in face.received) == 1
    if face.watched:
        watcher = face.watcher
        assert (watcher.started, watcher.ended, watcher.failed) == (1, 1, 0)
        if face.streams:
            assert "".join(map(text_in, watcher.tokens)) == said, "each token is told once"


def is_interrupted(error: StreamInterrupted, face: Face) -> None:
    received = "".join(text_of(chunk) for chunk in face.received)
    assert error.endpoint == "bad"
    assert received, "the first token was handed out"
    assert BAD_ANSWER.startswith(received)
    assert received != BAD_ANSWER
    assert text_of(error.partial) == received
    assert not any("cluster" in chunk.response_metadata for chunk in face.received)
    if face.watched:
        assert (face.watcher.ended, face.watcher.failed) == (0, 1)


def text_in(token: Any) -> str:
    if isinstance(token, str):
        return token
    return "".join(block.get("text", "") for block in token if isinstance(block, dict))
