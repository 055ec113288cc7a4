"""Which fault, if any, hits this request? Rules are asked in the order they were made."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from random import Random
from typing import Literal

from langchain_cluster.testing.simulated.faults import Fault

__all__ = ["On", "Rules"]

On = Literal["calls", "probes", "everything"]


@dataclass(slots=True)
class _Rule:
    fault: Fault
    endpoint: str | None
    model: str | None
    on: On
    probability: float
    times: int | None
    after: int

    def concerns(self, endpoint: str, model: str | None, *, probe: bool) -> bool:
        return (
            (self.endpoint is None or self.endpoint == endpoint)
            and (self.model is None or self.model == model)
            and (self.on == "everything" or (self.on == "probes") == probe)
        )


class Rules:
    """Thread-safe: made by the test, asked by the server.

    Of two rules that concern a request the older one strikes; when its `times` are used up the next
    one has its turn. So two rules with `times=1` make a sequence.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []

    def add(
        self,
        fault: Fault,
        *,
        endpoint: str | None,
        model: str | None,
        on: On,
        times: int | None,
        probability: float,
        after: int,
    ) -> None:
        with self._lock:
            self._rules.append(_Rule(fault, endpoint, model, on, probability, times, after))

    def drop(self, *, endpoint: str | None, model: str | None) -> None:
        with self._lock:
            self._rules = [
                rule
                for rule in self._rules
                if (endpoint is not None and rule.endpoint != endpoint)
                or (model is not None and rule.model != model)
            ]

    def strike(self, endpoint: str, model: str | None, *, probe: bool) -> Fault | None:
        if not self._rules:
            return None
        with self._lock:
            for rule in self._rules:
                if not rule.concerns(endpoint, model, probe=probe):
                    continue
                if rule.after > 0:
                    rule.after -= 1
                    continue
                if rule.probability < 1 and self._rng.random() >= rule.probability:
                    continue
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule.fault
        return None

    def __len__(self) -> int:
        return len(self._rules)
