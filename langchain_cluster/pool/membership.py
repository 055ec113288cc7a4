"""Who is in the pool: rosters, and endpoints one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.aimd import Aimd
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import (
    EndpointJoined,
    EndpointLeft,
    EndpointUpdated,
    Event,
)
from langchain_cluster.model.filters import Condition
from langchain_cluster.pool.core import Core
from langchain_cluster.pool.members import Member
from langchain_cluster.pool.roster import moves, no_duplicates


class Membership(Core):
    """What changes who is there."""

    def replace(self, endpoints: Iterable[Endpoint]) -> list[Event]:
        """Make the pool exactly `endpoints`; survivors keep their load and history.

        Returns:
            What changed, in order. Raises ConfigError for two endpoints with one id.
        """
        wanted = no_duplicates(endpoints)
        with self._lock:
            events = self._become(wanted)
        self._tell(events)
        return events

    def add(self, endpoint: Endpoint) -> list[Event]:
        """Take `endpoint` in. Raises ConfigError when its id is taken."""
        with self._lock:
            events = self._become(no_duplicates([*(m.endpoint for m in self.snapshot.members), endpoint]))
        self._tell(events)
        return events

    def register(self, endpoint: Endpoint) -> list[Event]:
        """Take `endpoint` in, or take over its new description; it is alive now.

        Raises:
            ConfigError: it is not an Endpoint, or its id belongs to an endpoint at another place.
        """
        (endpoint,) = no_duplicates([endpoint])
        with self._lock:
            known = self.snapshot.by_id.get(endpoint.id)
            if known is not None and not known.endpoint.same_place(endpoint):
                raise ConfigError(
                    f"the id {endpoint.id!r} belongs to another endpoint: deregister it first",
                    key="endpoint.id",
                )
            kept = [endpoint if m is known else m.endpoint for m in self.snapshot.members]
            events = self._become([*kept, endpoint] if known is None else kept)
            self._member(endpoint.id).last_seen = self._clock.now()
        self._tell(events)
        return events

    def deregister(self, id: str) -> list[Event]:
        """The same as `remove`."""
        return self.remove(id)

    def remove(self, id: str) -> list[Event]:
        """Take an endpoint out; its calls in flight finish. Raises ConfigError for an unknown id."""
        with self._lock:
            gone = self._member(id)
            events = self._become(tuple(m.endpoint for m in self.snapshot.members if m is not gone))
        self._tell(events)
        return events

    def _become(self, wanted: Sequence[Endpoint]) -> list[Event]:
        """The next snapshot, and what is news about it, to be told by `_tell` once the lock is released."""
        now = self._clock.now()
        events: list[Event] = []
        known = self.snapshot.by_id
        members = []
        for endpoint in wanted:
            member = known.get(endpoint.id)
            if member is None or not member.endpoint.same_place(endpoint):
                if member is not None:
                    events.append(EndpointLeft(now, member.endpoint))
                member = Member(endpoint, self._new_breaker(endpoint.id), now, decay=self._decay)
                events.append(EndpointJoined(now, endpoint))
            elif member.endpoint != endpoint:
                events.append(EndpointUpdated(now, endpoint, member.endpoint))
                member.describe(endpoint)
            members.append(member)
        for member in members:
            member.rates = self.rates.of(member.endpoint, member.rates)
            if self._concurrency is not None and member.aimd is None:
                member.aimd = Aimd(self._concurrency, now)
                member.describe(member.endpoint)
        self.rates.keep(wanted, now)
        self._warm_up(members, now)
        kept = {endpoint.id for endpoint in wanted}
        events += [EndpointLeft(now, m.endpoint) for id, m in known.items() if id not in kept]
        before, self.snapshot = self.snapshot, self._picture(members, now)
        if before.members:
            events += moves(before, self.snapshot, now)
        if self._ejector is not None:
            for event in events:
                if isinstance(event, EndpointLeft):
                    self._ejector.forget(event.endpoint.id)
        if self._heard is not None:
            for event in events:
                if isinstance(event, EndpointLeft):
                    self._heard.forget(event.endpoint.id)
        self._news.extend(events)
        return events

    def _warm_up(self, members: list[Member], now: float) -> None:
        """Who is new to a pool that is mostly not begins with a part of its share."""
        new = [m for m in members if m.registered_at == now and m.endpoint.id not in self.snapshot.by_id]
        if self._slow_start is not None and len(new) * 2 <= len(members):
            for member in new:
                member.warming_since = now

    def get(self, id: str) -> Member | None:
        """The member with this id, None if there is none."""
        return self.snapshot.by_id.get(id)

    def list(self, condition: Condition | None = None) -> list[Member]:
        """The members that meet `condition` (an `EndpointFilter` or a combination), in order.

        Raises ConfigError for what is no condition.
        """
        if condition is not None and not isinstance(condition, Condition):
            raise ConfigError(f"{condition!r} is not a condition, such as EndpointFilter(name='gpu-*')")
        now = self._clock.now()
        return [m for m in self.snapshot.members if condition is None or condition.matches(m, now)]
