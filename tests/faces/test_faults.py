"""Every fault of the simulated server, through every face: one whole answer, or one clear error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, get_args

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, Policy, StreamInterrupted
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.testing import FakeClock, SimulatedServer, faults
from tests.faces.faces import STREAMED, WHOLE, Face, Heard, at_rest, cluster_of, pair, text_of
from tests.faces.fault_cases import ANSWERS, CASES, FAILS_OVER, RAISES, SILENT, Case, recovered

LIMIT = 0.3  # seconds until a silent endpoint is given up
GENEROUS = 6.0  # seconds: an upper bound on a busy machine for what takes milliseconds on an idle one
QUICK = Policy(
    timeout=20.0,
    attempt_timeout=LIMIT * 2,
    first_token_timeout=LIMIT,
    idle_timeout=LIMIT,
    connect_timeout=2.0,
)
PATIENT = Policy(timeout=20.0)  # where nobody is silent, a busy machine must not look as if somebody were
QUESTION = "please repeat all of these words to me in one go"
WHOLE_ANSWER = f"good says: {QUESTION}"
BAD_ANSWER = f"bad says: {QUESTION}"


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


@pytest.mark.parametrize("recover", ["resume", "buffer"])
@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("case", [*CASES, *SILENT], ids=str)
def test_streams_that_are_recovered_are_whole_or_fail_as_before(
    case: Case, name: str, recover: Any, runner: Any, server: SimulatedServer, openai: Callable[[str], Any]
) -> None:
    face = Face(name, runner)
    server.behave("bad", reply=QUESTION)
    server.behave("good", reply=QUESTION)
    try:
        server.fail(case.fault, endpoint="bad")
        llm = pair(openai("bad"), openai("good"), policy=limits(case).but(recover=recover))
        heard = Heard(llm)
        started = time.monotonic()
        if recovered(case) == RAISES:
            with pytest.raises(case.raises):
                face.ask(llm, QUESTION)
            assert not face.received
        else:
            message = face.ask(llm, QUESTION)
            by = "good" if recovered(case) == FAILS_OVER else "bad"
            where = cluster_of(message)
            assert (text_of(message), where["endpoint"], where["attempts"]) == (
                QUESTION, by, 2 if by == "good" else 1,
            )  # fmt: skip
        assert time.monotonic() - started < LIMIT + GENEROUS
        assert (server.count("bad"), server.count("good")) == (1, recovered(case) == FAILS_OVER)
        assert heard.verdicts == ([("bad", case.verdict)] if case.verdict else [])
        assert at_rest(llm, server)
        llm.cluster.close()
    finally:
        server.behave("bad", reply=None)
        server.behave("good", reply=None)


def test_every_fault_of_the_server_is_a_case() -> None:
    tried = {type(case.fault) for case in (*CASES, *SILENT)}
    assert tried == set(get_args(faults.Fault))


def test_a_refusal_that_says_how_long_is_never_a_tight_loop(
    plain_face: Face, server: SimulatedServer, openai: Callable[[str], Any]
) -> None:
    server.fail(faults.RateLimited(2), endpoint="bad")
    clock = FakeClock(auto=True)
    llm = ClusteredLLM([Endpoint("bad", openai("bad"))], policy=Policy(timeout=None), clock=clock)
    with pytest.raises(Exception, match="429"):
        plain_face.ask(llm, QUESTION)
    assert server.count("bad") == 3, "as many as the policy allows"
    assert all(pause >= 2.0 - 0.01 for pause in clock.slept), "and it has waited before each"
    assert len(clock.slept) == 2


def check(
    case: Case,
    face: Face,
    server: SimulatedServer,
    model: Callable[[str], Any],
    *,
    within: tuple[float, float],
) -> None:
    server.fail(case.fault, endpoint="bad")
    llm = pair(model("bad"), model("good"), policy=limits(case))
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


def limits(case: Case) -> Policy:
    return QUICK if case in SILENT else PATIENT


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
