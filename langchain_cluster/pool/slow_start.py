"""A new endpoint warms up: its share grows from a tenth to the whole while its caches fill.

Envoy and HAProxy. Not at the start of the pool, nor when most of it is new: then everybody is cold,
and holding all back would only queue the calls.
"""

from __future__ import annotations

from langchain_cluster.model.policy import SlowStartPolicy

STEP = 1.0  # seconds between two steps of a warming endpoint's weight


def factor(policy: SlowStartPolicy, joined_at: float, now: float) -> float:
    """The part of its weight and capacity an endpoint has that joined at `joined_at`, 0-1."""
    elapsed = max(0.0, now - joined_at)
    return min(1.0, max(policy.floor, elapsed / policy.window))
