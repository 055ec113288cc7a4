"""One pool out of what several sources say: who wins, who is held back, who gets which model; all is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Protocol

from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.guard.outage import Outage
from langchain_cluster.guard.steady import Decision, Steady
from langchain_cluster.model.address import url_problem
from langchain_cluster.model.deferred import Deferred
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus, Rejected, Roster
from langchain_cluster.model.events import (
    DiscoveryFailed,
    DiscoveryRecovered,
    EndpointRejected,
    Event,
    RosterHeld,
    RosterReleased,
    RosterRestored,
)
from langchain_cluster.model.stability import StabilityPolicy
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import EventListener, Now


class Factory(Protocol):
    """Makes the models of discovered endpoints."""

    def attach(self, endpoint: Endpoint) -> Endpoint | Rejected:
        """The endpoint with its model, or why it cannot have one."""


class Keeper(Protocol):
    """Keeps rosters for a time when nobody can be asked. Both raise DiscoveryError."""

    def save(self, source: str, endpoints: Iterable[Endpoint]) -> None: ...
    def load(self, source: str) -> tuple[tuple[Endpoint, ...], float] | None: ...


@dataclass(slots=True)
class _Source:
    """What is known of one source."""

    name: str
    steady: Steady
    kept: bool  # on disk
    roster: Roster | None = None
    holds: bool = False
    restored: bool = False
    believed: tuple[Endpoint, ...] = ()
    given: dict[str, tuple[Endpoint, Endpoint | Rejected]] = field(default_factory=dict)
    rejected: frozenset[Rejected] = frozenset()


class Rosters:
    """Keeps a pool equal to what its sources say, as far as they are believed.

    Args:
        fixed: endpoints that are always there; they win over a source's with the same id.
        names: of the sources, in the order of precedence. sure: those that are always believed.
        pool, clock, emit: what is kept equal, and how that is told.
        stability: how much is believed at once; None for everything.
        factory: makes models for endpoints that have none; None for none.
        keeper: where rosters are kept; None for nowhere.
    """

    def __init__(
        self,
        fixed: Iterable[Endpoint],
        names: Sequence[str],
        sure: Sequence[bool],
        pool: Pool,
        clock: Now,
        emit: EventListener,
        stability: StabilityPolicy | None,
        factory: Factory | None,
        keeper: Keeper | None,
    ) -> None:
        self._fixed = tuple(fixed)
        self._pool, self._clock, self._emit = pool, clock, emit
        self._sweep = 0.0 if stability is None else stability.sweep
        self._factory, self._keeper = factory, keeper
        self._sources = [
            _Source(name, Steady(None if certain else stability), keeper is not None and not certain)
            for name, certain in zip(names, sure, strict=True)
        ]
        self._keeping = Outage()
        # Re-entrant: a listener that is told of a roster may change another one.
        self.lock = RLock()

    def take(self, number: int, roster: Roster) -> float | None:
        """Take in what a source says; seconds until it should be asked again, None when it changes.

        Raises:
            ConfigError: something in it is no endpoint.
        """
        with self.lock:
            source, now = self._sources[number], self._clock.now()
            before = source.roster
            if before is not None and before.revision == roster.revision and not source.holds:
                return None
            endpoints, rejected = self._attached(source, roster.endpoints)
            sweep = source.steady.sweep(endpoints, now, self._drained)
            source.believed, source.holds = sweep.endpoints, sweep.holds
            self._apply()
            source.roster, source.restored = roster, False
            self._refuse(source, (*roster.rejected, *rejected))
            for decision in sweep.decisions:
                self._emit(_decided(now, source.name, decision))
            if source.kept:
                self._keep(source)
            self._load(roster, before)
            return self._sweep if sweep.holds else None

    def restore(self, number: int) -> bool:
        """Make do with the roster that was kept where a source has said nothing yet; whether there is one."""
        with self.lock:
            source, now = self._sources[number], self._clock.now()
            if self._keeper is None or not source.kept or source.roster is not None or source.restored:
                return source.restored
            try:
                kept = self._keeper.load(source.name)
            except DiscoveryError as error:
                self._kept(error)
                return False
            if kept is None or not kept[0]:
                return False
            endpoints, rejected = self._attached(source, kept[0])
            source.believed, source.restored = source.steady.restore(endpoints), True
            self._apply()
            self._refuse(source, rejected)
            self._emit(RosterRestored(now, source.name, len(endpoints), kept[1]))
            return True

    def _attached(
        self, source: _Source, told: Iterable[Endpoint]
    ) -> tuple[list[Endpoint], tuple[Rejected, ...]]:
        """The endpoints with their models, each id once, and who cannot be one."""
        endpoints: list[Endpoint] = []
        rejected: list[Rejected] = []
        known, source_given = source.given, dict[str, tuple[Endpoint, Endpoint | Rejected]]()
        for place, endpoint in enumerate(told):
            if not isinstance(endpoint, Endpoint):
                kind = type(endpoint).__name__
                raise ConfigError(f"{kind} is not an Endpoint(id, model)", key=f"endpoints[{place}]")
            if endpoint.id in source_given:
                rejected.append(Rejected(endpoint.id[:80], "another one has its id"))
                continue
            given, made = known.get(endpoint.id, (None, endpoint))
            if given is None or (given is not endpoint and given != endpoint) or _left(made):
                made = self._attach(endpoint)
            source_given[endpoint.id] = endpoint, made
            if isinstance(made, Rejected):
                rejected.append(made)
            else:
                endpoints.append(made)
        source.given = source_given
        return endpoints, tuple(rejected)

    def _attach(self, endpoint: Endpoint) -> Endpoint | Rejected:
        if endpoint.model is not None:
            return endpoint
        if self._factory is not None:
            return self._factory.attach(endpoint)
        problem = None if endpoint.url is None else url_problem(endpoint.url)
        return endpoint if problem is None else Rejected(endpoint.id[:80], problem)

    def _drained(self, id: str) -> bool:
        member = self._pool.get(id)
        return member is None or member.status is EndpointStatus.DRAINING

    def _apply(self) -> None:
        merged: dict[str, Endpoint] = {}
        for endpoints in (self._fixed, *(source.believed for source in self._sources)):
            for endpoint in endpoints:
                merged.setdefault(endpoint.id, endpoint)
        self._pool.replace(merged.values())

    def _refuse(self, source: _Source, rejected: Iterable[Rejected]) -> None:
        """Tell of each once, while the source says the same."""
        before, told = source.rejected, tuple(dict.fromkeys(rejected))
        source.rejected = frozenset(told)
        for each in told:
            if each not in before:
                self._emit(EndpointRejected(self._clock.now(), each.id, each.reason))

    def _load(self, roster: Roster, before: Roster | None) -> None:
        for id, load in roster.loads.items():
            if self._pool.get(id) is not None and (before is None or before.loads.get(id) != load):
                try:
                    self._pool.heartbeat(id, load)
                except ConfigError:
                    pass  # it was removed by hand a moment ago

    def _keep(self, source: _Source) -> None:
        assert self._keeper is not None
        # Those that came with a model of their own cannot be made again.
        again = [e for e in source.believed if e.model is None or isinstance(e.model, Deferred)]
        try:
            self._keeper.save(source.name, again)
        except DiscoveryError as error:
            self._kept(error)
        else:
            self._kept(None)

    def _kept(self, error: DiscoveryError | None) -> None:
        now = self._clock.now()
        if error is not None:
            if self._keeping.began(now):
                self._emit(DiscoveryFailed(now, error.source, str(error)))
        elif (seconds := self._keeping.ended(now)) is not None:
            self._emit(DiscoveryRecovered(now, "the kept roster", seconds))

    def forked(self) -> None:
        """In the child of a fork, where whoever held the lock is not."""
        self.lock = RLock()

    def __repr__(self) -> str:
        told = ", ".join(f"{source.name}: {len(source.believed)}" for source in self._sources)
        return f"<Rosters {told}>"


def _left(made: Endpoint | Rejected) -> bool:
    """Whether its model was let go meanwhile."""
    return isinstance(made, Endpoint) and isinstance(made.model, Deferred) and made.model.gone


def _decided(now: float, source: str, decision: Decision) -> Event:
    if decision.held:
        return RosterHeld(now, source, decision.ids, decision.reason)
    return RosterReleased(now, source, decision.ids, decision.reason)
