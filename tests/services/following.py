"""A cluster that follows a registry while somebody calls it without a pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread
from typing import Any, Self

from langchain_cluster import ClusteredLLM, Roster
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


class Following:
    """The cluster, and its callers: no call may fail, whatever happens to the registry."""

    def __init__(self, source: Discovery) -> None:
        self.llm = ClusteredLLM(discovery=WithModels(source), balancer="round_robin")
        self.events: list[Any] = []
        self.failures: list[Exception] = []
        self.calls = 0
        self._stop = Event()
        self._caller = Thread(target=self._call, daemon=True)

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
        self._caller.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        self._caller.join()
        began = time.monotonic()
        self.llm.cluster.close()
        assert time.monotonic() - began < 5.0, "closing waited for the registry"
        if details[0] is None:
            assert self.failures == []
            assert self.calls > 0
