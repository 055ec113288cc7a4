"""What is so at the moment somebody looks: read from the pools, and kept nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.guard.spending import Spending
from langchain_cluster.model.endpoint import EndpointStatus
from langchain_cluster.model.events import EndpointJoined, EndpointLeft, EndpointUpdated, Event
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import Now
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.labels import Bounded

_OPENNESS = {BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2, BreakerState.FORCED_OPEN: 2}
DEFAULT_TIER = "default"  # of an endpoint that names none
_ROSTER = (EndpointJoined, EndpointLeft, EndpointUpdated)


class Watched(Protocol):
    """The part of a cluster that is looked at."""

    pool: Pool
    clock: Now

    spending: Spending | None
    wall: Callable[[], float]

    @property
    def retry_budgets(self) -> Iterable[float]:
        """The part of each retry budget that is spent, 0-1."""


class Gauges:
    """Looks at every cluster that is alive; several with endpoints of one id are added up.

    Args:
        endpoint, tier: which of each are told apart.
    """

    def __init__(self, endpoint: Bounded, tier: Bounded) -> None:
        self._endpoint, self._tier = endpoint, tier
        self._watched: WeakKeyDictionary[Any, float] = WeakKeyDictionary()  # since when it is as it is

    def watch(self, cluster: Watched) -> None:
        """Look at this one too, for as long as it lives."""
        self._watched[cluster] = cluster.clock.now()

    def heard(self, cluster: Watched, event: Event) -> None:
        """Something happened in a cluster that is watched."""
        if isinstance(event, _ROSTER):
            self._watched[cluster] = event.at

    def make(self, meter: Meter) -> None:
        """Register what is looked at."""
        for name, unit, about, look in (
            (names.METRIC_IN_FLIGHT, "{attempt}", "Attempts under way.", self._in_flight),
            (names.METRIC_BREAKER, "", "Circuits: 0 closed, 1 half open, 2 open.", self._circuits),
            (names.METRIC_QUEUE_DEPTH, "{request}", "Calls that wait for a place.", self._queued),
            (names.METRIC_ROSTER_SIZE, "{endpoint}", "Endpoints, by tier and status.", self._roster),
            (names.METRIC_ROSTER_AGE, "s", "Since endpoints joined, left or changed.", self._age),
            (names.METRIC_BUDGET, "", "The part of the retry budget that is spent.", self._budget),
            (names.METRIC_MONEY, "", "The largest part of a budget that is spent.", self._money),
        ):
            meter.create_observable_gauge(name, [_seen(look)], unit, about)

    def _members(self) -> Iterable[Any]:
        for cluster in list(self._watched):
            yield from cluster.pool.snapshot.members

    def _in_flight(self) -> dict[Any, float]:
        sums: Counter[Any] = Counter()
        for member in self._members():
            sums[((names.ENDPOINT, self._endpoint(member.endpoint.id)),)] += member.in_flight
        return dict(sums)

    def _circuits(self) -> dict[Any, float]:
        worst: dict[Any, float] = {}
        for member in self._members():
            label = ((names.ENDPOINT, self._endpoint(member.endpoint.id)),)
            worst[label] = max(worst.get(label, 0), _OPENNESS.get(member.breaker_state, 0))
        return worst

    def _roster(self) -> dict[Any, float]:
        sums: Counter[Any] = Counter()
        for cluster in list(self._watched):
            members = cluster.pool.snapshot.members
            for tier in {self._tier(member.endpoint.tier) for member in members} or {DEFAULT_TIER}:
                # None online is a number too: whoever watches for it would wait for a series in vain.
                sums[_place(tier, EndpointStatus.ONLINE)] += 0
            for member in members:
                sums[_place(self._tier(member.endpoint.tier), member.status)] += 1
        return dict(sums)

    def _queued(self) -> dict[Any, float]:
        return {(): sum(cluster.pool.line.waiting for cluster in list(self._watched))}

    def _age(self) -> dict[Any, float]:
        ages = [cluster.clock.now() - since for cluster, since in list(self._watched.items())]
        return {(): max(ages)} if ages else {}

    def _budget(self) -> dict[Any, float]:
        spent = [part for cluster in list(self._watched) for part in cluster.retry_budgets]
        return {(): max(spent)} if spent else {}

    def _money(self) -> dict[Any, float]:
        largest: dict[Any, float] = {}
        for cluster in list(self._watched):
            if cluster.spending is not None:
                for scope, part in cluster.spending.parts(cluster.wall()).items():
                    label = ((names.LABEL_SCOPE, scope),)
                    largest[label] = max(part, largest.get(label, 0.0))
        return largest


def _seen(look: Callable[[], dict[Any, float]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(value, dict(labels)) for labels, value in look().items()]


def _place(tier: str, status: EndpointStatus) -> Any:
    return ((names.TIER, tier), (names.EVENT_STATE, status.value))
