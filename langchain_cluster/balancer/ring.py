"""A hash ring, and how much one endpoint on it may bear: which endpoint is a key's home?

Karger et al., "Consistent hashing and random trees" (1997), flattened: the ring is cut into 65,536 slots
and the owner of each slot's beginning written down, so that finding a home is one hash and one look,
whatever the number of endpoints. Who leaves gives away only its own keys, who joins takes only what will
be its own. Points depend on ids alone: not on the order of endpoints, the process or `PYTHONHASHSEED`.

Bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016): nobody gets more than `bound` times its part of
the calls in flight, rounded up, this call included. Envoy compares before it adds the call, and so
overshoots by one. Where a key spills to is seeded by the key: the same place again, and not the
neighbour on the ring, whom it would only push over in turn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from math import log2
from operator import attrgetter
from struct import Struct
from typing import Any

from xxhash import xxh3_64_intdigest, xxh3_128_digest

SLOTS = 65_536
MOST_POINTS = 1 << 18  # on one ring; heavy endpoints get fewer points rather than the ring more
TRIES = 32  # places a key spills to before the least busy is looked for
CHUNK = 64  # calls in flight are added up in steps of so many endpoints, until it is enough

_in_flight = attrgetter("in_flight")
_two_points = Struct("<QQ").unpack


def digest(text: str, seed: int = 0) -> int:
    """64 bits of `text`, the same in every process; lone surrogates are taken as they are."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed)


@lru_cache(maxsize=2048)
def points(id: str, count: int) -> Sequence[float]:
    """The first `count` places of an endpoint on the ring, each in [0, 1)."""
    found: list[int] = []
    for n in range((count + 1) // 2):
        found += _two_points(xxh3_128_digest(f"{id}#{n}".encode("utf-8", "surrogatepass")))
    return [(bits >> 11) * 2.0**-53 for bits in found[:count]]


class Ring:
    """Where keys live among `members`.

    Args:
        members: endpoints with an id and a weight > 0.
        vnodes: points on the ring of an endpoint of weight 1, >= 1.

    Attributes:
        slots: who owns each of the 65,536 slots; a key's is the first 16 bits of its digest.
    """

    __slots__ = ("_order", "_places", "_total_weight", "chunks", "members", "slots")

    def __init__(self, members: Sequence[Any], vnodes: int) -> None:
        self.members = frozenset(members)
        self.chunks = [members[start : start + CHUNK] for start in range(0, len(members), CHUNK)]
        self._total_weight = sum(member.weight for member in members)
        scale = vnodes * _scale([member.weight for member in members], vnodes)
        owners: dict[float, Any] = {}
        for member in sorted(members, key=lambda member: str(member.endpoint.id)):
            count = max(1, round(scale * member.weight))
            owners |= dict.fromkeys(points(member.endpoint.id, count), member)
        self._places = sorted(owners)
        self._order = list(map(owners.__getitem__, self._places))
        self.slots: list[Any] = []
        before = -1
        for slot, owner in zip([int(place * SLOTS) for place in self._places], self._order, strict=True):
            if slot != before:  # the slots that begin after the last place and not after this one
                self.slots += [owner] * (slot - before)
                before = slot
        self.slots += [self._order[0]] * (SLOTS - 1 - before)

    def walk(self, bits: int) -> Iterator[Any]:
        """The owners from the slot of a digest on, round the ring; many come more than once."""
        start = bisect_left(self._places, (bits >> 48) / SLOTS)
        yield from self._order[start:]
        yield from self._order[:start]

    def home(self, bits: int, among: Collection[Any] | None = None) -> Any:
        """Who is at home at a digest's slot; the next one on the ring that is `among` those, if given.

        The same as on a ring of those alone.
        """
        if among is None:
            return self.slots[bits >> 48]
        return next(member for member in self.walk(bits) if member in among)

    def fits(self, member: Any, bound: float, among: Collection[Any] | None = None) -> bool:
        """Whether one more call leaves `member` within `bound` times its part of all calls in flight.

        Its part is by weight, of the calls on all (those `among`), this one included, rounded up.
        """
        busy = member.in_flight
        if not busy:
            return True
        chunks, weight = self.chunks, self._total_weight
        if among is not None:
            chunks, weight = [tuple(among)], sum(other.weight for other in among)
        # busy + 1 <= ceil(x) is busy < x; how many calls it takes is known before they are counted.
        needed, total = busy * weight / (bound * member.weight) * (1 + 1e-12), 1
        for chunk in chunks:
            total += sum(map(_in_flight, chunk))
            if total > needed:
                return True
        return False

    def spill(self, bits: int, bound: float, among: Collection[Any] | None = None) -> Any:
        """Who answers instead of a home that is full: the first that fits, in the order of a key's digest."""
        seeds, asked = bits.to_bytes(8, "little"), set()
        for seed in range(1, TRIES + 1):
            member = self.home(xxh3_64_intdigest(seeds, seed), among)
            if member not in asked:
                if self.fits(member, bound, among):
                    return member
                asked.add(member)
        return least_busy(self.members if among is None else among, bits)


def least_busy(members: Collection[Any], bits: int) -> Any:
    """The one with the fewest calls in flight for its weight; a key's digest decides between equals."""
    return min(members, key=lambda m: (m.in_flight / m.weight, digest(m.endpoint.id, bits)))


def _scale(weights: Sequence[float], vnodes: int) -> float:
    """What weights are multiplied by, a power of two: a change of one rarely moves the others' points.

    1 unless all weigh less than 1 (they need more points) or their points are too many.
    """
    heaviest, scale = max(weights), 1.0
    if heaviest < 1.0:
        scale = 2.0 ** -int(log2(heaviest) // 1)
    while scale * vnodes * sum(weights) > MOST_POINTS:
        scale /= 2.0
    return scale
