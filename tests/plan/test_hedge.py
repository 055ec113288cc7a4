"""A second attempt when the first is slow, stepped by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from langchain_cluster.errors import ClusterExhausted, StreamInterrupted
from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.guard.quantile import Lately
from langchain_cluster.model.call import Outcome, Verdict
from langchain_cluster.model.endpoint import Capacity, Endpoint
from langchain_cluster.model.events import AttemptEnded, HedgeBegun
from langchain_cluster.plan.effects import Begin, Relay, Sleep, Started, Wait
from langchain_cluster.plan.hedge import AnyOf
from tests.plan.stepping import Stream, World


class Running:
    """An attempt as a driver would begin it."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.dropped = False
        self._waiting: list[Callable[[], None]] = []

    def subscribe(self, tell: Callable[[], None]) -> None:
        self._waiting.append(tell)

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        self._waiting.remove(tell)

    def drop(self) -> None:
        self.dropped = True

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        for tell in list(self._waiting):
            tell()


def world(*endpoints: str | Endpoint, **policy: Any) -> Any:
    made: Any = World(*endpoints, **({"hedge": 0.5, "timeout": 30.0} | policy))
    made.cx.lately = Lately()
    return made


def begin(call: Any) -> Running:
    """Answer the `Begin` the plan waits on."""
    assert isinstance(call.now, Begin)
    running = Running()
    call.send(running)
    return running


def begin_both(it: Any, call: Any) -> tuple[Running, Running]:
    first = begin(call)
    assert isinstance(call.now, Wait)
    assert call.now.until == it.clock.now() + 0.5
    it.clock.advance(0.5)
    call.send(None)
    second = begin(call)
    assert isinstance(call.now, Wait)
    assert call.now.until is None
    return first, second


def test_a_quick_first_attempt_is_the_only_one() -> None:
    it = world("a", "b")
    call: Any = it.ask()
    begin(call).end(Outcome.ok(value="hi", seconds=0.2))
    call.send(None)
    assert (call.answer.value, call.answer.endpoint) == ("hi", "a")
    assert (call.answer.attempts, call.answer.hedged) == (1, False)
    assert it.told(HedgeBegun) == []
    assert it.in_flight == 0


@pytest.mark.parametrize("winner", ["a", "b"])
def test_the_first_good_answer_wins_and_the_other_is_called_off(winner: str) -> None:
    it = world("a", "b")
    call: Any = it.ask()
    runners = dict(zip("ab", begin_both(it, call), strict=True))
    assert it.in_flight == 2
    assert [(e.slow, e.endpoint) for e in it.told(HedgeBegun)] == [("a", "b")]
    it.clock.advance(0.25)
    runners[winner].end(Outcome.ok(value=f"from {winner}", seconds=0.3))
    call.send(None)
    assert (call.answer.value, call.answer.endpoint) == (f"from {winner}", winner)
    assert (call.answer.hedged, call.answer.attempts) == (True, 2)
    loser = "b" if winner == "a" else "a"
    assert [runners[id].dropped for id in (winner, loser)] == [False, True]
    assert it.in_flight == 0
    assert (it[loser].failed, it[loser].served, it[winner].served) == (0, 0, 1)
    # The loser is known to be at least as slow as it was.
    assert it[loser].ewma_seconds == (0.75 if loser == "a" else 0.25)


def test_the_attempts_are_numbered_and_go_to_different_endpoints() -> None:
    it = world("a", "b")
    call: Any = it.ask()
    assert (call.now.attempt.number, call.now.attempt.endpoint.id, call.now.streaming) == (1, "a", False)
    begin(call)
    it.clock.advance(0.5)
    call.send(None)
    assert (call.now.attempt.number, call.now.attempt.endpoint.id) == (2, "b")


def test_when_one_fails_the_other_is_waited_for() -> None:
    it = world("a", "b")
    call: Any = it.ask()
    first, second = begin_both(it, call)
    second.end(Outcome.failed(ConnectionError("refused")))
    call.send(None)
    assert isinstance(call.now, Wait)
    assert (it["b"].failed, it["b"].in_flight, it["a"].in_flight) == (1, 0, 1)
    first.end(Outcome.ok(value="late", seconds=2.0))
    call.send(None)
    assert (call.answer.value, call.answer.endpoint, call.answer.attempts) == ("late", "a", 2)
    assert [e.report.endpoint for e in it.told(AttemptEnded)] == ["b"]


def test_when_both_fail_the_call_goes_on_elsewhere() -> None:
    it = world("a", "b", "c", attempts=3)
    call: Any = it.ask()
    first, second = begin_both(it, call)
    first.end(Outcome.failed(ConnectionError("refused")))
    second.end(Outcome.failed(ConnectionError("refused")))
    call.send(None)
    assert call.now.attempt.endpoint.id == "c"
    begin(call).end(Outcome.ok(value="hi", seconds=0.1))
    call.send(None)
    assert (call.answer.endpoint, call.answer.attempts, call.answer.hedged) == ("c", 3, True)


def test_of_two_the_one_that_was_called_back_is_no_attempt() -> None:
    it = world("a", "b", "c", attempts=2, retry_budget=None)
    call: Any = it.ask()
    first, second = begin_both(it, call)
    first.end(Outcome(Verdict.ABANDONED, 0.6, reason="it left the pool", recalled=True))
    call.send(None)
    second.end(Outcome.failed(ConnectionError("down")))
    call.send(None)
    begin(call).end(Outcome.ok(value="hi", seconds=0.1))
    call.send(None)
    assert call.answer.value == "hi"


def test_when_all_fail_the_error_has_every_attempt() -> None:
    it = world("a", "b", attempts=2)
    call: Any = it.ask()
    first, second = begin_both(it, call)
    second.end(Outcome.failed(ConnectionError("reset")))
    call.send(None)
    first.end(Outcome.failed(ConnectionError("refused")))
    with pytest.raises(ClusterExhausted) as caught:
        call.send(None)
    assert [(r.endpoint, r.reason) for r in caught.value.attempts] == [("b", "reset"), ("a", "refused")]
    assert it.in_flight == 0


def test_a_question_that_fails_everywhere_is_not_waited_for_twice() -> None:
    it = world("a", "b")
    call: Any = it.ask()
    first, second = begin_both(it, call)
    second.end(Outcome.rejected(ValueError("no such parameter")))
    with pytest.raises(ValueError, match="no such parameter"):
        call.send(None)
    assert first.dropped
    assert it.in_flight == 0


def test_the_last_attempt_is_not_hedged() -> None:
    it = world("a", "b", "c", attempts=2)
    call: Any = it.ask()
    begin(call).end(Outcome.failed(ConnectionError("refused")))
    call.send(None)
    begin(call)
    assert isinstance(call.now, Wait)
    assert call.now.until is None, "there is no third attempt to begin"


@pytest.mark.parametrize("spent", ["hedges", "budget"])
def test_a_spent_budget_means_no_second_attempt(spent: str) -> None:
    it = world("a", "b")
    nothing = RetryBudget(0.0, 1000.0, floor=0.0)
    setattr(it.cx, spent, nothing)
    call: Any = it.ask()
    first = begin(call)
    it.clock.advance(0.5)
    call.send(None)
    assert isinstance(call.now, Wait)
    assert (it["b"].in_flight, it["b"].breaker.state) == (0, "closed")
    first.end(Outcome.ok(value="slow", seconds=3.0))
    call.send(None)
    assert (call.answer.value, call.answer.hedged) == ("slow", False)


def test_hedges_are_a_small_part_of_the_calls() -> None:
    it = world("a", "b")
    it.cx.hedges = RetryBudget(0.05, 1000.0, floor=1.0)
    begun = 0
    for _ in range(100):
        call: Any = it.ask()
        first = begin(call)
        it.clock.advance(0.5)
        call.send(None)
        if isinstance(call.now, Begin):
            begun += 1
            begin(call)
        first.end(Outcome.ok(value="slow", seconds=0.6))
        call.send(None)
        it.clock.advance(-0.5)  # all of them within one window
    assert begun == 6  # 5 % of a hundred, and the one that is always allowed


def test_without_anybody_else_there_is_no_second_attempt() -> None:
    full = Endpoint("b", capacity=Capacity(max_connections=1))
    it = world("a", full)
    held = it.pool.acquire(exclude=("a",))
    call: Any = it.ask()
    first = begin(call)
    it.clock.advance(0.5)
    call.send(None)
    assert isinstance(call.now, Wait)
    first.end(Outcome.ok(value="slow", seconds=3.0))
    call.send(None)
    assert call.answer.endpoint == "a"
    held.settle(Outcome.abandoned())


def test_a_quantile_waits_for_evidence() -> None:
    it = world("a", "b", hedge="p95")
    for n in range(19):
        it.cx.lately.whole.add(float(n))
    call: Any = it.ask()
    first = begin(call)
    assert call.now.until is None
    first.end(Outcome.ok(value="hi", seconds=19.0))  # the twentieth
    call.send(None)
    call = it.ask()
    begin(call)
    assert call.now.until == it.clock.now() + 18.0


def test_leaving_early_calls_both_off() -> None:
    it = world("a", "b")
    call: Any = it.ask()
    first, second = begin_both(it, call)
    call.plan.close()
    assert (first.dropped, second.dropped, it.in_flight) == (True, True, 0)
    assert [m.ewma_seconds for m in it.pool] == [0.0, 0.0], "leaving says nothing about anybody"


def test_a_stream_is_hedged_up_to_its_first_token() -> None:
    it = world("a", "b")
    call: Any = it.ask(stream=True)
    assert call.now.streaming
    attempt = call.now.attempt
    first, second = begin_both(it, call)
    started = Started(attempt, cast(Any, Stream()), [], None)
    second.end(Outcome(Verdict.OK, value=started))
    call.send(None)
    assert isinstance(call.now, Relay)
    assert call.now.started is started
    assert first.dropped
    assert it.in_flight == 1, "the winner's lease lasts until its stream has ended"
    call.send(Outcome.ok(seconds=4.0, first_token_seconds=0.7))
    assert (call.answer.delivered, call.answer.hedged, call.answer.endpoint) == (True, True, "b")
    assert it.cx.lately.first_token._samples[-1] == 0.7


def test_a_stream_that_is_left_after_its_race_gives_its_place_back() -> None:
    it = world("a", "b")
    call: Any = it.ask(stream=True)
    attempt = call.now.attempt
    first = begin(call)
    first.end(Outcome(Verdict.OK, value=Started(attempt, cast(Any, Stream()), [], None)))
    call.send(None)
    assert isinstance(call.now, Relay)
    call.plan.close()
    assert it.in_flight == 0
    assert it.pool.get("a").failed == 0, "leaving says nothing about anybody"


def test_a_stream_that_breaks_after_a_hedge_is_interrupted() -> None:
    it = world("a", "b")
    call: Any = it.ask(stream=True)
    attempt = call.now.attempt
    first = begin(call)
    first.end(Outcome(Verdict.OK, value=Started(attempt, cast(Any, Stream()), [], None)))
    call.send(None)
    with pytest.raises(StreamInterrupted):
        call.send(Outcome.failed(ConnectionError("cut")))
    assert it.in_flight == 0


def test_after_a_throttled_pair_the_call_waits_like_any_other() -> None:
    it = world("a", "b", attempts=4)
    call: Any = it.ask()
    first, second = begin_both(it, call)
    first.end(Outcome.throttled(2.0))
    second.end(Outcome.throttled(1.0))
    call.send(None)
    assert isinstance(call.now, Sleep)
    assert call.now.seconds == 1.0, "the soonest of the two"


def test_any_of_several_tells_once() -> None:
    one, other, told = Running(), Running(), []
    both = AnyOf([one, other])

    def tell() -> None:
        told.append(1)

    both.subscribe(tell)
    one.end(Outcome.ok())
    other.end(Outcome.ok())
    assert told == [1]
    both.unsubscribe(tell)
    both.unsubscribe(tell)
    assert (one._waiting, other._waiting) == ([], [])
