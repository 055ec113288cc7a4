"""The discovery loop, stepped by hand: an error means stale, keep the last."""

from __future__ import annotations

from random import Random
from typing import Any

from langchain_cluster.model.endpoint import Endpoint, Roster
from langchain_cluster.plan.effects import Fetch, Sleep
from langchain_cluster.plan.watch import FIRST_PAUSE, LONGEST_PAUSE, watch

SOURCE: Any = object()


class Watching:
    def __init__(self, after: int | None = None) -> None:
        self.applied: list[Roster] = []
        self.failures: list[Exception] = []
        self.plan = watch(SOURCE, self.applied.append, self.failures.append, Random(3), after)
        self.now = next(self.plan)

    def send(self, value: Any = None) -> Any:
        self.now = self.plan.send(value)
        return self.now

    def throw(self, error: Exception) -> Any:
        self.now = self.plan.throw(error)
        return self.now


def roster(revision: int) -> Roster:
    return Roster((Endpoint(f"e{revision}"),), revision)


def test_a_new_revision_is_applied_and_asked_after() -> None:
    watching = Watching()
    assert watching.now == Fetch(SOURCE, None)
    assert watching.send(roster(1)) == Fetch(SOURCE, 1)
    assert watching.send(roster(2)) == Fetch(SOURCE, 2)
    assert watching.applied == [roster(1), roster(2)]
    assert watching.failures == []


def test_the_same_revision_is_applied_once() -> None:
    watching = Watching(after=1)
    assert watching.now == Fetch(SOURCE, 1)
    watching.send(roster(1))
    assert watching.applied == []


def test_an_older_revision_is_a_change_too() -> None:
    """A registry that was restored from a backup counts from there."""
    watching = Watching(after=5)
    assert watching.send(roster(3)) == Fetch(SOURCE, 3)
    assert watching.applied == [roster(3)]


def test_after_a_failure_it_waits_and_asks_after_the_same() -> None:
    watching = Watching()
    watching.send(roster(1))
    error = OSError("down")
    pause = watching.throw(error)
    assert isinstance(pause, Sleep)
    assert 0.0 <= pause.seconds <= FIRST_PAUSE
    assert watching.failures == [error]
    assert watching.send() == Fetch(SOURCE, 1)
    assert watching.applied == [roster(1)]


def test_pauses_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    longest = [0.0] * 12
    for seed in range(300):
        plan = watch(SOURCE, lambda _: None, lambda _: None, Random(seed))
        next(plan)
        for step in range(12):
            pause: Any = plan.throw(OSError())
            longest[step] = max(longest[step], pause.seconds)
            plan.send(None)
        plan.send(roster(1))
        again: Any = plan.throw(OSError())
        assert again.seconds <= FIRST_PAUSE
    for step, seen in enumerate(longest):
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2**step)
        assert 0.9 * bound <= seen <= bound


def test_a_roster_that_cannot_be_applied_is_a_failure_and_is_asked_for_again() -> None:
    failures: list[Exception] = []

    def refuse(_: Roster) -> None:
        raise ValueError("two with one id")

    plan = watch(SOURCE, refuse, failures.append, Random(1))
    next(plan)
    assert isinstance(plan.send(roster(1)), Sleep)
    assert plan.send(None) == Fetch(SOURCE, None)
    assert str(failures[0]) == "two with one id"
