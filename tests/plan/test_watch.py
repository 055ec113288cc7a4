"""The discovery loop, stepped by hand: an error means stale, keep the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tenacity import wait_fixed

from langchain_cluster.model.endpoint import Endpoint, Roster
from langchain_cluster.plan.effects import Fetch, Sleep
from langchain_cluster.plan.watch import FIRST_PAUSE, LONGEST_PAUSE, watch

SOURCE: Any = object()


class Watching:
    def __init__(self, again: Callable[[Roster], float | None] = lambda roster: None, **options: Any) -> None:
        self.heard: list[Roster] = []
        self.failures: list[Exception] = []
        self.again = again
        self.plan = watch(SOURCE, self._hear, self.failures.append, **options)
        self.now = next(self.plan)

    def _hear(self, roster: Roster) -> float | None:
        self.heard.append(roster)
        return self.again(roster)

    def send(self, value: Any = None) -> Any:
        self.now = self.plan.send(value)
        return self.now

    def throw(self, error: Exception) -> Any:
        self.now = self.plan.throw(error)
        return self.now


def roster(revision: int) -> Roster:
    return Roster((Endpoint(f"e{revision}"),), revision)


def test_every_answer_is_handed_on_and_the_next_is_asked_after() -> None:
    watching = Watching()
    assert watching.now == Fetch(SOURCE, None)
    assert watching.send(roster(1)) == Fetch(SOURCE, 1)
    assert watching.send(roster(2)) == Fetch(SOURCE, 2)
    assert watching.send(roster(2)) == Fetch(SOURCE, 2)
    assert watching.heard == [roster(1), roster(2), roster(2)]
    assert watching.failures == []


def test_an_older_revision_is_a_change_too() -> None:
    """A registry that was restored from a backup counts from there."""
    watching = Watching()
    watching.send(roster(5))
    assert watching.send(roster(3)) == Fetch(SOURCE, 3)


def test_who_is_in_doubt_has_the_source_asked_again_whatever_it_says() -> None:
    answers = [2.0, None]
    watching = Watching(lambda roster: answers.pop(0))
    assert watching.send(roster(1)) == Sleep(2.0)
    assert watching.send() == Fetch(SOURCE, None)
    assert watching.send(roster(1)) == Fetch(SOURCE, 1)


def test_after_a_failure_it_waits_and_asks_after_the_same() -> None:
    watching = Watching()
    watching.send(roster(1))
    error = OSError("down")
    pause = watching.throw(error)
    assert isinstance(pause, Sleep)
    assert 0.0 <= pause.seconds <= FIRST_PAUSE
    assert watching.failures == [error]
    assert watching.send() == Fetch(SOURCE, 1)
    assert watching.heard == [roster(1)]


def test_pauses_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    longest = [0.0] * 12
    for _ in range(300):
        watching = Watching()
        for step in range(12):
            longest[step] = max(longest[step], watching.throw(OSError()).seconds)
            watching.send()
        watching.send(roster(1))
        assert watching.throw(OSError()).seconds <= FIRST_PAUSE
    for step, seen in enumerate(longest):
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2**step)
        assert 0.9 * bound <= seen <= bound


def test_the_pauses_are_any_strategy_of_tenacity() -> None:
    watching = Watching(wait=wait_fixed(7))
    assert watching.throw(OSError()) == Sleep(7.0)


def test_a_roster_that_cannot_be_applied_is_a_failure_and_is_asked_for_again() -> None:
    def refuse(_: Roster) -> None:
        raise ValueError("no endpoint")

    watching = Watching(refuse)
    assert isinstance(watching.send(roster(1)), Sleep)
    assert watching.send() == Fetch(SOURCE, None)
    assert str(watching.failures[0]) == "no endpoint"


def test_what_does_not_change_is_read_until_it_could_be_and_then_no_more() -> None:
    watching = Watching(once=True)
    watching.throw(OSError())
    watching.send()
    with pytest.raises(StopIteration):
        watching.send(roster(1))
