"""What is done to single endpoints, standby levels and tiers, by operators, checks and other processes."""

from __future__ import annotations

from random import Random

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import EndpointState, EndpointStatus, Load, status_of
from langchain_cluster.model.events import (
    EndpointEjected,
    HealthChanged,
    StandbyChanged,
    StatusChanged,
    TierShifted,
)
from langchain_cluster.model.hearsay import Hearsay
from langchain_cluster.pool.failover import next_standby, over_their_part, state_of
from langchain_cluster.pool.hearsay import Heard
from langchain_cluster.pool.membership import Membership


class Operations(Membership):
    """What changes how an endpoint is treated, while it stays."""

    def set_status(self, id: str, status: EndpointStatus) -> None:
        """Set an endpoint's status. Raises ConfigError for an unknown id, and for what is no status."""
        status = status_of(status, f"endpoint {id!r}")
        now = self._clock.now()
        with self._lock:
            member = self._member(id)
            before, member.status = member.status, status
            self._refresh(now, *((StatusChanged(now, id, status, before),) if before is not status else ()))
        self._tell_news()

    def drain(self, id: str, *, migrate: bool = False) -> int:
        """Give it no new calls; those in flight finish.

        Args:
            migrate: call those back that have delivered nothing yet, to be made elsewhere: where
                somebody else can, and enough of the call's time is left.

        Returns:
            How many were called back. Raises ConfigError for an unknown id.
        """
        self.set_status(id, EndpointStatus.DRAINING)
        return self._migrate(id, "it is drained") if migrate else 0

    def undrain(self, id: str) -> None:
        """Take it back into traffic."""
        self.set_status(id, EndpointStatus.ONLINE)

    def heartbeat(self, id: str, load: Load | None = None) -> None:
        """The endpoint is alive, and this is its load. Raises ConfigError for an unknown id."""
        if load is not None and not isinstance(load, Load):
            raise ConfigError(f"{load!r} is not a Load", key=f"endpoint {id!r}")
        member = self._member(id)
        member.last_seen = self._clock.now()
        if load is not None:
            member.load = load

    def mark(self, id: str, *, healthy: bool, reason: str = "") -> None:
        """What health checks found. An unhealthy endpoint gets no calls, unless all are unhealthy.

        Raises ConfigError for an unknown id.
        """
        now = self._clock.now()
        with self._lock:
            member = self._member(id)
            before, member.healthy = member.healthy, healthy
            if before is not healthy:
                self._refresh(now, HealthChanged(now, id, healthy, reason))
        self._tell_news()

    def force_open(self, id: str) -> None:
        """Refuse it every call until `reset` or `force_close`; calls that wait for it are made elsewhere."""
        self._member(id).breaker.force_open()
        self._migrate(id, "its circuit was forced open")

    def force_close(self, id: str) -> None:
        """Close its circuit and forget what was counted."""
        breaker = self._member(id).breaker
        if self._breaker_policy is None:
            breaker.reset()  # closed, it would begin to break
        else:
            breaker.force_close()

    def reset(self, id: str) -> None:
        """Forget everything held against it: circuit, cooling down, latency."""
        member = self._member(id)
        member.breaker.reset()
        with member.lock:
            member.cooling_until = member.ejected_until = member.ewma_seconds = 0.0
        if self._ejector is not None:
            self._ejector.forget(id)
        if self._heard is not None:
            self._heard.forget(id)
        self._publish(self._clock.now())

    def hear(self, said: Hearsay, *, max_percent: float = 50.0) -> bool:
        """Take what another process says for a hint, as far as it can do no harm: see `pool/hearsay.py`.

        Args:
            max_percent: of the pool that may be out for hearsay at one time, 0-100.

        Returns:
            Whether it changed anything.
        """
        now = self._clock.now()
        with self._lock:
            if self._heard is None:
                self._heard = Heard(Random(self._rng.random()), max_ejection=self._max_ejection)
            events = self._heard.take(said, self.snapshot.members, now, max_percent=max_percent)
            if events is not None:
                self._ejected.update(e.endpoint for e in events if isinstance(e, EndpointEjected))
                self._news.extend(events)
                self._refresh(now)
        self._tell_news()
        return events is not None

    def disable_breaker(self, id: str) -> None:
        """Admit every call to it and count nothing, until `enable_breaker` or `reset`."""
        self._member(id).breaker.disable()

    def metrics_only(self, id: str) -> None:
        """Admit every call to it and count, but never open, until `enable_breaker` or `reset`."""
        self._member(id).breaker.metrics_only()

    def enable_breaker(self, id: str) -> None:
        """Let its circuit break by itself again, whatever was done to it by hand, closed and uncounted.

        Where the pool has no breaking, it is disabled again. What `reset` forgets beside the circuit
        stays.
        """
        self._member(id).breaker.reset()

    def promote(self, level: int | None = None) -> int | None:
        """Make a standby level a part of the first, until `demote`.

        Args:
            level: the next one that has somebody who can be asked if None.

        Returns:
            The level, None if there is none. Raises ConfigError when no endpoint has that level.
        """
        now = self._clock.now()
        with self._lock:
            members = self.snapshot.members
            if level is None:
                level = next_standby(members, self._promoted, now)
                if level is None:
                    return None
            standby = sorted({m.endpoint.priority for m in members})[1:]
            if level not in standby:
                raise ConfigError(f"no standby level {level!r}", valid=[str(n) for n in standby])
            changes = level not in self._promoted
            self._promoted |= {level}
            self._refresh(now, *((StandbyChanged(now, level, True),) if changes else ()))
        self._tell_news()
        return level

    def demote(self, level: int) -> bool:
        """Make a promoted level a standby again; whether it was promoted."""
        now = self._clock.now()
        with self._lock:
            changes = level in self._promoted
            self._promoted -= {level}
            self._refresh(now, *((StandbyChanged(now, level, False),) if changes else ()))
        self._tell_news()
        return changes

    @property
    def promoted(self) -> frozenset[int]:
        """Standby levels that count as the first for now."""
        return self._promoted

    def shift_tier(self, tier: str, *, to: str) -> None:
        """Send calls for `tier` to the endpoints of tier `to`, until `unshift_tier`.

        Raises:
            ConfigError: no endpoint of the pool is of tier `to`, or it is the same tier.
        """
        tiers = sorted({m.endpoint.tier for m in self.snapshot.members})
        if to not in tiers or to == tier:
            raise ConfigError(f"calls for tier {tier!r} cannot go to tier {to!r}", valid=tiers, got=to)
        now = self._clock.now()
        with self._lock:
            before, self._shifts = self._shifts.get(tier), self._shifts | {tier: to}
            if before != to:
                self._news.append(TierShifted(now, tier, to))
        self._tell_news()

    def unshift_tier(self, tier: str) -> None:
        """Send calls for `tier` to its own endpoints again. Does nothing when they go there."""
        now = self._clock.now()
        with self._lock:
            shifted = tier in self._shifts
            self._shifts = {name: to for name, to in self._shifts.items() if name != tier}
            if shifted:
                self._news.append(TierShifted(now, tier, None))
        self._tell_news()

    @property
    def shifts(self) -> dict[str, str]:
        """Tiers whose calls go to another tier for now, and to which."""
        return dict(self._shifts)

    def state(self, id: str) -> EndpointState:
        """Health, circuit, ejection and status as one word. Raises ConfigError for an unknown id."""
        return state_of(self._member(id), self._clock.now())

    def recover(self, id: str) -> None:
        """Take an endpoint back, whatever took it out, and forget what was held against it.

        Its status is online, its circuit closed, and it counts as healthy until a check says otherwise.
        Raises ConfigError for an unknown id.
        """
        self.set_status(id, EndpointStatus.ONLINE)
        self.mark(id, healthy=True, reason="an operator said so")
        self.reset(id)

    def rebalance(self) -> int:
        """Move calls that have delivered nothing from endpoints with more than their part to others.

        After a change of who is there: what waits for an endpoint stays there otherwise. Which endpoint a
        key belongs to is not touched: a ring moves only the keys that must move. More than its part is
        over 1.25 times what its weight makes of the calls in flight.

        Returns:
            How many were called back.
        """
        now = self._clock.now()
        snapshot = self._publish(now)
        moved = 0
        for member, excess in over_their_part(snapshot.ready):
            moved += self._migrate(member.endpoint.id, "the pool is rebalanced", most=excess)
        return moved
