"""Each in turn: exact counts, under any number of threads.

Every set of candidates has turns of its own. With common ones a call that leaves out who failed would
shift the turns of the others, and where the two alternate somebody would never be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, cycle
from random import Random
from typing import Any

from langchain_cluster.balancer.tables import ALIKE, Tables, remember
from langchain_cluster.model.call import Request


class RoundRobin:
    """Each candidate in turn, whatever its load or weight; weight 0 is left out by the pool."""

    name = "round_robin"

    def __init__(self) -> None:
        self._alike: dict[tuple[Any, ...], Callable[[], Any]] = {}
        self._made = 0  # how many had turns so far: not all begin with their first
        self._tables: Tables[Callable[[], Any]] = Tables(self._turns)

    def turns(self, candidates: Sequence[Any], rng: Random) -> Callable[[], Any]:
        """Gives `candidates` in turn: what `pick` does, for whoever will ask for the same ones often."""
        return self._tables.keep(candidates, rng)[1]

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The next in turn."""
        known, turn = self._tables.last
        if known is candidates:
            return turn()  # one C call: no two threads get the same turn
        entry = self._tables.find(candidates, rng)
        return (self._turns(candidates, rng) if entry is None else entry[1])()

    def _turns(self, candidates: Sequence[Any], rng: Random) -> Callable[[], Any]:
        key = tuple(candidates)
        turns = self._alike.get(key)
        if turns is None:
            start = self._made % len(key)
            turns = remember(self._alike, key, cycle(chain(key[start:], key[:start])).__next__, ALIKE)
            self._made += 1
        return turns

    def __repr__(self) -> str:
        return "RoundRobin()"
