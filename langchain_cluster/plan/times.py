"""How long may a call wait for its cache, and for another call that asks the same?"""

from __future__ import annotations

from collections.abc import Callable

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan

# Seconds a cache may keep a call waiting, and the part of the time left: a cache that hangs is a miss.
LONGEST_LOOK = 1.0
LOOK = 0.25
# Seconds, for what other processes wait for too: it may save each of them a call to a model.
LONGEST_FOR_ALL = 5.0

PAUSED = 1.0  # seconds without asking for the next chunk: longer than it takes to look at one

Ask = Callable[[Request, Context, float, str], Plan[Answer]]
Keep = Callable[[Request, Answer, Context, float], Plan["bytes | None"]]

PATIENCE = 0.5  # of the time left: how long to wait for a leader that streams at its consumer's pace
# Seconds, for the same: a consumer may pause for good, and be the very thread that waits here.
LONGEST_PATIENCE = 5.0
# Seconds, where the consumer is another process's: it cannot be who waits here.
LONGEST_ABROAD = 15.0


def patience(streaming: bool, cx: Context, started: float, longest: float | None = None) -> float | None:
    """Until when to wait for whoever asks; `streaming`: at its consumer's pace, and at most `longest` s."""
    longest = LONGEST_PATIENCE if longest is None else longest
    timeout, now = cx.policy.timeout, cx.now()
    if timeout is None:
        return now + longest if streaming else None
    left = started + timeout - now
    return now + (min(longest, left * PATIENCE) if streaming else left * 0.9)


def look_until(cx: Context, started: float, longest: float = LONGEST_LOOK) -> float:
    """Until when to wait for the cache, for at most `longest` seconds."""
    now = cx.now()
    timeout = cx.policy.timeout
    return now + (longest if timeout is None else min(longest, (started + timeout - now) * LOOK))


def short_of_time(cx: Context, started: float) -> bool:
    """Whether a cache may keep this call waiting only for a part of the time it has left."""
    timeout = cx.policy.timeout
    return timeout is not None and (started + timeout - cx.now()) * LOOK < LONGEST_LOOK
