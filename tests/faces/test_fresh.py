"""Old answers: given while they are asked anew beside the call, once, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy, Request
from langchain_cluster.drive.renewals import AGAIN, MOST
from langchain_cluster.model.events import AnswerRenewed, RenewalFailed
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face, Heard, cluster_of, text_of

LATE = 60.0  # seconds of real time for what is not about time


class Old:
    """A cluster whose answers are fresh for 60 s and given for 600 s more."""

    def __init__(self, *answers: Any, delay: float = 0.0, **policy: Any) -> None:
        self.clock = FakeClock()
        self.model = ScriptedModel(*answers, delay=delay)
        given = {"fresh_for": 60.0, "stale_while_revalidate": 600.0, "attempts": 1} | policy
        self.llm = ClusteredLLM(
            [Endpoint("a", self.model)], cache=True, clock=self.clock, policy=Policy(**given)
        )
        self.heard = Heard(self.llm)
        self._told = Event()
        self.llm.cluster.events.subscribe(
            lambda event: self._told.set() if isinstance(event, AnswerRenewed | RenewalFailed) else None
        )

    def ask(self, face: Face, text: str = "What is new?") -> tuple[str, str]:
        message = face.ask(self.llm, text)
        return text_of(message), cluster_of(message)["cache"]

    def renewal(self) -> Any:
        """Wait for the next one, and how it went."""
        assert self._told.wait(LATE)
        self._told.clear()
        return self.heard[-1]


@pytest.fixture
def old() -> Iterator[Callable[..., Old]]:
    made: list[Old] = []

    def make(*answers: Any, **options: Any) -> Old:
        made.append(Old(*answers, **options))
        return made[-1]

    yield make
    for one in made:
        one.llm.cluster.close()


def test_an_old_answer_is_given_and_asked_anew_beside_the_call(face: Face, old: Callable[..., Old]) -> None:
    world = old("first", "second")
    assert world.ask(face) == ("first", "miss")
    world.clock.advance(60.0)
    assert world.ask(face) == ("first", "memory")
    assert world.model.calls == 1
    world.clock.advance(1.0)
    assert world.ask(face) == ("first", "memory")
    assert isinstance(world.renewal(), AnswerRenewed)
    assert world.ask(face) == ("second", "memory")
    assert world.model.calls == 2


def test_a_stream_of_an_old_answer_is_replayed_in_chunks(runner: Any, old: Callable[..., Old]) -> None:
    world, face = old("one two three", "new"), Face("astream", runner)
    world.ask(face)
    whole = text_of(face._merged())
    world.clock.advance(100.0)
    assert world.ask(face) == (whole, "memory")
    assert len(face.received) >= 1
    world.renewal()


def test_what_is_too_old_even_for_that_is_a_miss(plain_face: Face, old: Callable[..., Old]) -> None:
    world = old("first", "second")
    world.ask(plain_face)
    world.clock.advance(660.5)
    assert world.ask(plain_face) == ("second", "miss")
    alone = old("first", "second", stale_while_revalidate=None)
    alone.ask(plain_face)
    alone.clock.advance(60.5)
    assert alone.ask(plain_face) == ("second", "miss")


def test_without_a_word_about_it_an_answer_is_as_old_as_the_cache_lets_it_get(
    plain_face: Face, old: Callable[..., Old]
) -> None:
    world = old("first", fresh_for=None, stale_while_revalidate=None)
    world.ask(plain_face)
    world.clock.advance(1e6)
    assert world.ask(plain_face) == ("first", "memory")


def test_however_many_calls_notice_it_is_asked_anew_once(runner: Any, old: Callable[..., Old]) -> None:
    world, face = old("first", "second", "third"), Face("invoke", runner)
    world.ask(face)
    going = Event()
    renew, world.llm.cluster._renewals._renew = (
        world.llm.cluster._renewals._renew,
        lambda *given: going.wait(LATE) and renew(*given),  # type: ignore[assignment, return-value]
    )
    world.clock.advance(100.0)
    for _ in range(20):
        assert world.ask(face) == ("first", "memory")
    going.set()
    world.renewal()
    assert world.ask(face) == ("second", "memory")
    assert world.model.calls == 2


def test_a_few_are_asked_anew_at_once_and_the_call_waits_for_none(
    runner: Any, old: Callable[..., Old]
) -> None:
    world, face = old("first"), Face("invoke", runner)
    going, begun = Event(), []
    world.llm.cluster._renewals._renew = (  # type: ignore[method-assign]
        lambda request, policy: begun.append(request) or (going.wait(LATE) and None)  # type: ignore[func-returns-value]
    )
    for number in range(3 * MOST):
        world.ask(face, str(number))
    world.clock.advance(100.0)
    for number in range(3 * MOST):
        assert world.ask(face, str(number)) == ("first", "memory")
    assert len(world.llm.cluster._renewals._running) == MOST
    going.set()


def test_what_failed_is_told_and_left_alone_for_a_while(runner: Any, old: Callable[..., Old]) -> None:
    world, face = old("first", TimeoutError("no"), "second"), Face("ainvoke", runner)
    world.ask(face)
    world.clock.advance(100.0)
    assert world.ask(face) == ("first", "memory")
    failed = world.renewal()
    assert isinstance(failed, RenewalFailed)
    assert failed.error == "TimeoutError"
    assert world.ask(face) == ("first", "memory")
    assert world.model.calls == 2
    world.clock.advance(AGAIN)
    assert world.ask(face) == ("first", "memory")
    assert isinstance(world.renewal(), AnswerRenewed)
    assert world.ask(face) == ("second", "memory")


def test_an_answer_that_cannot_be_kept_replaces_none(runner: Any, old: Callable[..., Old]) -> None:
    world, face = old("first", ""), Face("invoke", runner)
    world.ask(face)
    world.clock.advance(100.0)
    world.ask(face)
    assert world.renewal().error == "the answer cannot be kept"
    assert world.ask(face) == ("first", "memory")


def test_a_hot_answer_is_asked_anew_before_it_is_too_old(plain_face: Face, old: Callable[..., Old]) -> None:
    world = old("first", "second", refresh_ahead=0.5, stale_while_revalidate=None)
    world.ask(plain_face)
    for _ in range(3):
        world.ask(plain_face)  # it is young
    world.clock.advance(30.0)
    assert world.ask(plain_face) == ("first", "memory")  # once is not often
    assert world.model.calls == 1
    assert world.ask(plain_face) == ("first", "memory")
    assert isinstance(world.renewal(), AnswerRenewed)
    world.clock.advance(40.0)  # the first one would be too old now
    assert world.ask(plain_face) == ("second", "memory")


def test_closing_waits_for_what_is_asked_anew_and_begins_no_more(
    runner: Any, old: Callable[..., Old]
) -> None:
    world, face = old("first", "second", delay=0.0), Face("invoke", runner)
    world.ask(face)
    world.clock.advance(100.0)
    world.ask(face)
    world.llm.cluster.close()
    assert not world.llm.cluster._renewals._running
    assert world.model.calls == 2
    world.llm.cluster._renewals.begin(Request(fingerprint="f"), Policy())
    assert not world.llm.cluster._renewals._running
    world.llm.cluster.start()
    assert world.ask(face) == ("second", "memory")


def test_a_refresh_asks_whatever_the_age(face: Face, old: Callable[..., Old]) -> None:
    world = old("first", "second")
    world.ask(face)
    answer = face.ask(world.llm, "What is new?", {"configurable": {"cluster": {"cache": "refresh"}}})
    assert (text_of(answer), cluster_of(answer)["cache"]) == ("second", "miss")
    world.clock.advance(50.0)
    assert world.ask(face) == ("second", "memory")


def test_each_agent_has_an_age_of_its_own(plain_face: Face, old: Callable[..., Old]) -> None:
    world = old("first", "second", fresh_for=None, stale_while_revalidate=None)
    hasty = world.llm.for_agent("hasty", fresh_for=1.0)
    world.ask(plain_face)
    world.clock.advance(10.0)
    assert cluster_of(plain_face.ask(world.llm, "What is new?"))["cache"] == "memory"
    assert text_of(plain_face.ask(hasty, "What is new?")) == "second"
    now = {"configurable": {"cluster": {"policy": {"fresh_for": 0.5}}}}
    world.clock.advance(0.6)
    assert cluster_of(plain_face.ask(world.llm, "What is new?", now))["cache"] == "miss"


@pytest.mark.parametrize(
    "given",
    [
        {"stale_while_revalidate": 5.0},
        {"refresh_ahead": 0.5},
        {"fresh_for": 0},
        {"fresh_for": -1},
        {"fresh_for": 5, "refresh_ahead": 1.0},
        {"fresh_for": 5, "refresh_ahead": 0},
        {"fresh_for": 5, "stale_while_revalidate": "soon"},
    ],
    ids=str,
)
def test_what_is_not_valid_is_one_config_error(given: Any) -> None:
    with pytest.raises(ConfigError):
        Policy(**given)
