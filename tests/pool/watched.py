"""A pool, its clock, and everything it told."""

from __future__ import annotations

from typing import Any

from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import Event
from langchain_cluster.pool.members import Lease, Member
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock


class Watched:
    """Endpoints by their ids, or as they are."""

    def __init__(self, *endpoints: str | Endpoint, **options: Any) -> None:
        self.clock = FakeClock(1000.0)
        self.events: list[Event] = []
        self.pool = Pool(
            [Endpoint(e) if isinstance(e, str) else e for e in endpoints],
            **{"balancer": "round_robin", "seed": 7, "clock": self.clock, "emit": self.events.append}
            | options,
        )

    def __getitem__(self, id: str) -> Member:
        member = self.pool.get(id)
        assert member is not None
        return member

    def lease_on(self, id: str, **wanted: Any) -> Lease:
        """A lease on this endpoint and no other."""
        others = [m.endpoint.id for m in self.pool if m.endpoint.id != id]
        return self.pool.acquire(Request(**wanted), exclude=others)

    def call(self, id: str, outcome: Outcome | None = None, times: int = 1) -> None:
        for _ in range(times):
            self.lease_on(id).settle(outcome or Outcome.ok(seconds=0.1))

    def break_(self, id: str) -> None:
        """Open its circuit."""
        self.call(id, Outcome.failed(seconds=0.1), times=5)

    def asked(self, times: int = 60, **wanted: Any) -> set[str]:
        """Who is asked, one call after the other."""
        got = set()
        for _ in range(times):
            with self.pool.acquire(Request(**wanted)) as lease:
                got.add(lease.endpoint.id)
        return got

    def told(self) -> list[str]:
        """The names of the events so far, which are forgotten."""
        names = [type(event).__name__ for event in self.events]
        self.events.clear()
        return names
