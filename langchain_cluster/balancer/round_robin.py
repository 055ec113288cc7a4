"""Each in turn: exact counts, under any number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any

from langchain_cluster.model.call import Request


class RoundRobin:
    """Each candidate in turn, whatever its load or weight; weight 0 is left out by the pool."""

    name = "round_robin"

    def __init__(self) -> None:
        self._turn = count().__next__  # one C call: no two threads get the same number

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The next in turn."""
        return candidates[self._turn() % len(candidates)]

    def __repr__(self) -> str:
        return "RoundRobin()"
