"""What every event has. `at` is the cluster's monotonic clock, seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at `at`."""

    at: float
