"""What balancers work out once for a tuple of candidates and then only read: who keeps it, and until when.

A pick must cost the same among ten endpoints and among a thousand, so whatever grows with their number
is done once per tuple: the pool hands in the same tuple object until something changes. A tuple seen
for the first time may be gone at once (who is left after exclusions), so nothing is made for it yet;
when it comes again it is here to stay. Who knows that it will stay says so beforehand (`keep`), as the
pool does when it publishes it: then no call waits for a table. All of it is safe under threads without
a lock: entries are whole tuples, and iterators written in C hand each caller another element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice, permutations
from math import perm
from random import Random
from typing import Any, Generic, TypeVar

from langchain_cluster.model.call import Request

K = TypeVar("K")
T = TypeVar("T")
Choose = Callable[[Request, float], Any]
"""(request, now in seconds) -> one of the candidates it was made for."""

ALIKE = 16  # tables kept by who is in them, where turns must go on from call to call
MOST = 4  # tables kept: a pool has one stable tuple per priority level, and few levels
HANDS = 1024  # at least so many are dealt before they repeat
ROUNDS = 4  # and at least so often everybody is dealt before they repeat


class Tables(Generic[T]):
    """The tables of the last few tuples of candidates.

    Args:
        make: (candidates, rng) -> their table.

    `last` is (candidates, table) of the tuple that was asked for last: look there first, by identity.
    """

    __slots__ = ("_kept", "_make", "_seen", "last")

    def __init__(self, make: Callable[[Sequence[Any], Random], T]) -> None:
        self._make = make
        self._kept: dict[int, tuple[Any, T]] = {}
        self._seen: tuple[Any, ...] = ()
        self.last: tuple[Any, T | Any] = (None, None)

    def find(self, candidates: Sequence[Any], rng: Random) -> tuple[Any, T] | None:
        """(candidates, table), made when they come for the second time; None at first sight."""
        entry = self._kept.get(id(candidates))
        if entry is None:  # (an id is nobody else's while what it belongs to is kept)
            if type(candidates) is not tuple:  # it may change under our hands
                return None
            if not any(seen is candidates for seen in self._seen):
                self._seen = (candidates, *self._seen[: MOST - 1])
                return None
            entry = self.keep(candidates, rng)
        self.last = entry
        return entry

    def keep(self, candidates: Sequence[Any], rng: Random) -> tuple[Any, T]:
        """Make the table now, if there is none. Of two threads that do so at once both get the same one."""
        kept = self._kept.get(id(candidates))
        if kept is not None and kept[0] is candidates:
            return kept
        return remember(self._kept, id(candidates), (candidates, self._make(candidates, rng)), MOST)

    def __iter__(self) -> Iterator[tuple[Any, T]]:
        return iter(list(self._kept.values()))


class Tabled:
    """A balancer that works out a function per tuple of candidates, and then only calls it."""

    def __init__(self) -> None:
        self._tables: Tables[Choose] = Tables(self._chooser)

    def _chooser(self, candidates: Sequence[Any], rng: Random) -> Choose:
        """The function for `candidates`."""
        raise NotImplementedError

    def _glance(self, candidates: Sequence[Any], now: float, rng: Random) -> Any:
        """One of those that are here for the first time, and perhaps for the last."""
        raise NotImplementedError

    def prepare(self, candidates: Sequence[Any], rng: Random) -> Choose:
        """Picks among `candidates`, which will be asked for often; see `ports.Prepares`."""
        return self._tables.keep(candidates, rng)[1]

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """One of `candidates`, by what the balancer goes by; see `ports.Balancer`."""
        known, choose = self._tables.last
        if known is not candidates:
            entry = self._tables.find(candidates, rng)
            if entry is None:
                return self._glance(candidates, now, rng)
            choose = entry[1]
        return choose(request, now)


def remember(kept: dict[K, T], key: K, new: T, most: int) -> T:
    """What is kept under `key`: `new` unless another thread was first. The oldest goes when it gets full."""
    found = kept.setdefault(key, new)
    if len(kept) > most:
        for oldest in list(kept)[:-most]:
            kept.pop(oldest, None)
    return found


def even(candidates: Sequence[Any]) -> bool:
    """Whether all have the same weight, so that nobody needs to look at it."""
    weight = candidates[0].weight
    return all(member.weight == weight for member in candidates)


def hands(candidates: Sequence[Any], size: int, rng: Random) -> Callable[[], Sequence[Any]]:
    """Deals hands of `size` distinct candidates (all of them, if they are fewer) in random order, for ever.

    Everybody is in equally many hands, and first in equally many, so that ties favour nobody. The seed
    must differ from process to process, or all of them like the same endpoints at the same time.
    """
    n = len(candidates)
    size = min(size, n)
    dealt: list[tuple[Any, ...]] = []
    if perm(n, size) <= HANDS:
        every = list(permutations(candidates, size))
        while len(dealt) < HANDS:
            dealt += shuffled(every, rng)
        return cycle(dealt).__next__
    while len(dealt) < max(HANDS, ROUNDS * n):
        circle = shuffled(candidates, rng)
        circle += circle[: size - 1]
        dealt += zip(*(islice(circle, start, start + n) for start in range(size)), strict=True)
    return cycle(shuffled(dealt, rng)).__next__


def weighted_hands(candidates: Sequence[Any], size: int, rng: Random) -> Callable[[], Sequence[Any]]:
    """As `hands`, but who is first is so as often as its weight says.

    With ties for the first, weights then hold among idle endpoints too, where calls per weight are 0
    for all. (Envoy goes by weights in turn when they are uneven.)
    """
    n = len(candidates)
    size, rounds = min(size, n), max(HANDS, ROUNDS * n) / sum(member.weight for member in candidates)
    firsts: list[Any] = []
    for member in candidates:
        firsts += [member] * max(1, round(member.weight * rounds))
    others, dealt = cycle(shuffled(candidates, rng)), []
    for first in shuffled(firsts, rng):
        hand = [first]
        while len(hand) < size:
            if (other := next(others)) not in hand:
                hand.append(other)
        dealt.append(tuple(hand))
    return cycle(dealt).__next__


def shuffled(items: Sequence[T], rng: Random) -> list[T]:
    """The items in random order; several times as fast as `rng.shuffle`."""
    chance = [rng.random() for _ in items]
    return [items[i] for i in sorted(range(len(items)), key=chance.__getitem__)]
