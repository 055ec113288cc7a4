"""The discovery loop: hand on whatever a source says; on error keep what it said last, and ask again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenacity.wait import wait_random_exponential

from langchain_cluster.guard.retry import pause
from langchain_cluster.model.endpoint import Roster
from langchain_cluster.plan.effects import Fetch, Plan, Sleep
from langchain_cluster.ports import Discovery

FIRST_PAUSE = 0.25  # seconds after a failed fetch at most, doubled for each failure in a row
LONGEST_PAUSE = 1.5  # so that a registry that is back is heard within two seconds
FULL_JITTER = wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)


def watch(
    source: Discovery,
    heard: Callable[[Roster], float | None],
    failed: Callable[[Exception], object],
    wait: Callable[[Any], float] = FULL_JITTER,
    *,
    once: bool = False,
) -> Plan[None]:
    """Fetch and hand on, for ever.

    Args:
        heard: told of every answer, also of one that says the same as the last. Answers None to be told
            of the next change, or seconds after which the source is to be asked whatever it says.
        failed: told of every failure, of the source or of `heard`.
        wait: a tenacity wait strategy, for the pauses after failures.
        once: end with the first answer that needs no other.
    """
    after: int | None = None
    failures = 0
    while True:
        try:
            roster = yield from Fetch(source, after)
            again = heard(roster)
        except Exception as error:
            failures += 1
            failed(error)
            yield from Sleep(pause(wait, attempt=failures, error=error, elapsed=0.0))
            continue
        failures = 0
        after = roster.revision if again is None else None
        if again is not None:
            yield from Sleep(again)
        elif once:
            return
