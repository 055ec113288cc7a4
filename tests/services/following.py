"""A cluster that follows a registry while somebody calls it without a pause."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from threading import Event, Thread
from typing import Any, Protocol, Self

from langchain_cluster import ClusteredLLM, Endpoint, Roster
from langchain_cluster.model.events import EndpointJoined, EndpointLeft, EndpointUpdated
from langchain_cluster.ports import Discovery
from langchain_cluster.testing import ScriptedModel

SOON = 2.0  # seconds from the registry being right to the pool being right
LOOK = 0.002  # seconds between two looks at the pool
PATIENCE = 5.0  # seconds more for each second of a sleep that took too long: a busy machine is no failure


class WithModels:
    """A source whose endpoints have models: one for each id."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self._models: dict[str, ScriptedModel] = {}

    def fetch(self, after: int | None) -> Roster:
        return self._with_models(self.source.fetch(after))

    async def afetch(self, after: int | None) -> Roster:
        return self._with_models(await self.source.afetch(after))

    def close(self) -> None:
        self.source.close()

    def _with_models(self, roster: Roster) -> Roster:
        found = (
            replace(one, model=self._models.setdefault(one.id, ScriptedModel("hello")))
            for one in roster.endpoints
        )
        return replace(roster, endpoints=tuple(found))


class Registrar(Protocol):
    """Tells a registry who is there."""

    def register(self, endpoint: Endpoint) -> None: ...
    def deregister(self, id: str) -> None: ...


def churn(registrar: Registrar, source: Discovery, *, ids: int = 200, steps: int = 400) -> None:
    """Endpoints come, change and go at random; what the pool tells leads, in its order, to the final set.

    Each has the number of its last step as its weight, so that what is told too late shows.
    """
    rng = Random(5)
    first = Endpoint("g0", url="http://10.0.0.1:80")
    registrar.register(first)
    there: dict[str, float] = {"g0": 1.0}
    with Following(source, callers=4) as following:
        for step in range(2, steps + 2):
            id = f"g{rng.randrange(1, ids)}"
            if id in there and rng.random() < 0.5:
                registrar.deregister(id)
                del there[id]
            else:
                registrar.register(Endpoint(id, url="http://10.0.0.1:80", weight=float(step)))
                there[id] = float(step)
        following.soon(there)
        assert told_in_order(following.events) == there
    for id in there:
        registrar.deregister(id)


def told_in_order(events: Iterable[Any]) -> dict[str, float]:
    """The set that events about endpoints lead to: nobody joins twice, or leaves, or changes, while away."""
    weights: dict[str, float] = {}
    latest: dict[str, float] = {}
    for event in events:
        if isinstance(event, EndpointLeft):
            assert weights.pop(event.endpoint.id) == event.endpoint.weight
        elif isinstance(event, EndpointJoined | EndpointUpdated):
            id, weight = event.endpoint.id, event.endpoint.weight
            assert (id in weights) is isinstance(event, EndpointUpdated)
            assert weight > latest.get(id, 0.0), "it was told of the past"
            weights[id] = latest[id] = weight
    return weights


class Following:
    """The cluster, and its callers: no call may fail, whatever happens to the registry."""

    def __init__(self, source: Discovery, callers: int = 1) -> None:
        self.llm = ClusteredLLM(discovery=WithModels(source), balancer="round_robin")
        self.events: list[Any] = []
        self.failures: list[Exception] = []
        self.calls = 0
        self._stop = Event()
        self._callers = [Thread(target=self._call, daemon=True) for _ in range(callers)]

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                self.llm.invoke("hello")
                self.calls += 1
            except Exception as error:
                self.failures.append(error)
            self._stop.wait(0.005)

    def weights(self) -> dict[str, float]:
        return {member.endpoint.id: member.endpoint.weight for member in self.llm.cluster.pool}

    def soon(self, weights: dict[str, float], within: float = SOON) -> float:
        """The pool is that within two seconds; seconds it took."""
        return self.until(lambda: self.weights() == weights, within)

    def until(self, happened: Callable[[], bool], within: float = SOON) -> float:
        began = time.monotonic()
        starved = 0.0  # seconds the machine did not let us run: others, the registry among them, had them
        while not happened():
            took = time.monotonic() - began
            assert took < within + PATIENCE * starved, (
                f"the pool is {self.weights()} after {took:.1f} s, {starved:.1f} s of them starved"
            )
            looked = time.monotonic()
            time.sleep(LOOK)
            starved += max(0.0, time.monotonic() - looked - 5 * LOOK)
        return time.monotonic() - began

    def stays(self, weights: dict[str, float], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.weights() == weights
            time.sleep(0.01)

    def __enter__(self) -> Self:
        self.llm.cluster.events.subscribe(self.events.append)
        assert self.llm.cluster.wait_ready(20.0)
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()
        began = time.monotonic()
        self.llm.cluster.close()
        assert time.monotonic() - began < 5.0, "closing waited for the registry"
        if details[0] is None:
            assert self.failures == []
            assert self.calls > 0
