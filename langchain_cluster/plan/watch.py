"""The discovery loop: keep the pool equal to what a source last said; on error keep the last roster."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from langchain_cluster.model.endpoint import Roster
from langchain_cluster.plan.effects import Fetch, Plan, Sleep
from langchain_cluster.ports import Discovery

FIRST_PAUSE = 0.25  # seconds after a failed fetch, doubled for each failure in a row
LONGEST_PAUSE = 1.5  # so that a registry that is back is heard within two seconds


def watch(
    source: Discovery,
    apply: Callable[[Roster], None],
    failed: Callable[[Exception], None],
    rng: Random,
    after: int | None = None,
    worked: Callable[[], None] = lambda: None,
) -> Plan[None]:
    """Fetch and apply, for ever; after a failure wait with full jitter. `worked`: told of every success."""
    pause = FIRST_PAUSE
    while True:
        try:
            roster = yield from Fetch(source, after)
            if roster.revision != after:
                apply(roster)
                after = roster.revision
        except Exception as error:
            failed(error)
            yield from Sleep(rng.uniform(0.0, pause))
            pause = min(LONGEST_PAUSE, pause * 2)
        else:
            pause = FIRST_PAUSE
            worked()
