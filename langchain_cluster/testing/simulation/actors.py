"""The parts of a scenario file: endpoints and their lives, what goes wrong with them, and the traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from langchain_cluster.model.endpoint import Capacity, Endpoint
from langchain_cluster.model.strict import Seconds, Strict
from langchain_cluster.testing.simulation import mishaps
from langchain_cluster.testing.simulation.driver import Change
from langchain_cluster.testing.simulation.durations import Duration
from langchain_cluster.testing.simulation.traffic import ClosedLoop, Poisson, Sessions


class SimulatedEndpoint(Strict):
    """One endpoint, or several alike."""

    id: str = Field(min_length=1, description="with copies: the beginning of their ids, such as gpu-1")
    copies: int = Field(1, ge=1, le=1000, strict=True, description="how many of them there are")
    service: Duration = Field("100ms", validate_default=True, description="how long an answer takes")
    slots: int | None = Field(
        None, ge=1, strict=True, description="answers it works on at once; further calls wait inside it"
    )
    weight: float = Field(1.0, ge=0, strict=True, allow_inf_nan=False)
    priority: int = Field(0, ge=0, strict=True, description="0 is asked first")
    quota_group: str | None = None
    max_connections: int | None = Field(None, ge=1, strict=True, description="calls at once")
    joins: Seconds | None = Field(None, description="when it joins the pool; at the start if not given")
    drains: Seconds | None = Field(None, description="when it gets no new calls any more")
    returns: Seconds | None = Field(None, description="when it is taken back into traffic")
    leaves: Seconds | None = Field(None, description="when it leaves the pool")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.returns is not None and (self.drains is None or self.returns <= self.drains):
            raise ValueError("returns needs an earlier drains")
        if self.leaves is not None and self.leaves <= max(self.joins or 0.0, self.drains or 0.0):
            raise ValueError("leaves is not after joins and drains")
        if self.joins is not None and self.drains is not None and self.drains <= self.joins:
            raise ValueError("drains is not after joins")
        return self

    @property
    def ids(self) -> list[str]:
        """Theirs, one for each copy."""
        return [self.id] if self.copies == 1 else [f"{self.id}-{n + 1}" for n in range(self.copies)]

    def endpoints(self) -> list[Endpoint]:
        """What the pool is given."""
        return [
            Endpoint(
                id,
                weight=self.weight,
                priority=self.priority,
                quota_group=self.quota_group,
                capacity=Capacity(max_connections=self.max_connections),
            )
            for id in self.ids
        ]

    def changes(self) -> Iterator[Change]:
        """When they join, drain, return and leave."""
        for endpoint in self.endpoints():
            acts: list[tuple[float | None, Callable[..., Any]]] = [
                (self.joins, lambda pool, endpoint=endpoint: pool.add(endpoint)),
                (self.drains, lambda pool, id=endpoint.id: pool.drain(id)),
                (self.returns, lambda pool, id=endpoint.id: pool.undrain(id)),
                (self.leaves, lambda pool, id=endpoint.id: pool.remove(id)),
            ]
            yield from ((when, act) for when, act in acts if when is not None)


class _Fault(Strict):
    endpoint: str = Field(description="the id of an endpoint, or of all its copies")
    start: Seconds | None = Field(None, description="when it begins; at the start if not given")
    end: Seconds | None = Field(None, description="when it is over; never if not given")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end <= (self.start or 0.0):
            raise ValueError("end is not after start")
        return self

    @property
    def when(self) -> dict[str, float]:
        """From when to when."""
        return {"start": self.start or 0.0, "end": inf if self.end is None else self.end}


class Fails(_Fault):
    """It fails after `after`, with `probability`."""

    kind: Literal["fails"]
    after: Seconds | None = Field(None, description="how long a failure takes; no time if not given")
    probability: float = Field(1.0, gt=0, le=1, strict=True)

    def mishap(self, id: str) -> mishaps.Mishap:
        """What the simulator is given."""
        return mishaps.Failing(id, self.after or 0.0, self.probability, **self.when)


class Hangs(_Fault):
    """It takes calls and never answers, with `probability`."""

    kind: Literal["hangs"]
    probability: float = Field(1.0, gt=0, le=1, strict=True)

    def mishap(self, id: str) -> mishaps.Mishap:
        """What the simulator is given."""
        return mishaps.Hanging(id, self.probability, **self.when)


class Throttles(_Fault):
    """It takes `rate` calls a second and answers the others with a 429."""

    kind: Literal["throttles"]
    rate: float = Field(gt=0, strict=True, allow_inf_nan=False)
    retry_after: Seconds | None = Field(1.0, description="how long it asks to be left alone")

    def mishap(self, id: str) -> mishaps.Mishap:
        """What the simulator is given."""
        return mishaps.Throttling(id, self.rate, self.retry_after, **self.when)


class Slows(_Fault):
    """Its answers take `factor` times as long."""

    kind: Literal["slows"]
    factor: float = Field(gt=0, strict=True, allow_inf_nan=False)

    def mishap(self, id: str) -> mishaps.Mishap:
        """What the simulator is given."""
        return mishaps.Slowing(id, self.factor, **self.when)


class Arrivals(Strict):
    """When calls come: at random, so many a second, or from callers that each wait for their answer."""

    rate: float | None = Field(None, gt=0, strict=True, allow_inf_nan=False, description="calls a second")
    callers: int | None = Field(None, ge=1, strict=True, description="calls in flight")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.rate is None) == (self.callers is None):
            raise ValueError("give either rate (calls a second) or callers (calls in flight)")
        return self

    def arrivals(self) -> Poisson | ClosedLoop:
        """What the simulator is given."""
        return ClosedLoop(self.callers) if self.callers is not None else Poisson(self.rate or 0.0)


class SessionsConfig(Strict):
    """The conversations that calls belong to. The n-th has 1 / n ** skew of the calls of the first."""

    count: int = Field(ge=1, strict=True)
    skew: float = Field(1.0, ge=0, le=100, strict=True)
    remembered: int = Field(50, ge=0, strict=True, description="how many an endpoint's cache holds")
    saves: float = Field(0.7, ge=0, le=1, strict=True, description="part of the time saved by remembering")

    def sessions(self) -> Sessions:
        """What the simulator is given."""
        return Sessions(**self.model_dump())
