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
from itertools import repeat
from math import ceil, log2
from operator import attrgetter, mul
from random import Random
from struct import Struct
from typing import Any

from xxhash import xxh3_64_intdigest, xxh3_128_digest

SLOTS = 65_536
MOST_POINTS = 1 << 18  # on one ring; heavy endpoints get fewer points rather than the ring more
TRIES = 32  # places of its own a key spills to before chance decides
SURE = 7.0  # so many times the expected number of tries by chance: they all fail once in a thousand times
EXACT = 1.0 + 1e-12  # what is equal but for rounding is equal: on the bound is not below it

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
        candidates: the members as they were given; `members` is the set of them.
        slots: who owns each of the 65,536 slots; a key's is the first 16 bits of its digest.
    """

    __slots__ = (
        "_order", "_places", "_root", "_scale", "_vnodes", "_weight", "_weights", "candidates", "members",
        "slots",
    )  # fmt: skip

    def __init__(self, members: Sequence[Any], vnodes: int) -> None:
        self._root, self._vnodes = self, vnodes
        self._count(members)
        self._scale = _scale(list(self._weights.values()), vnodes)
        owners: dict[float, Any] = {}
        for member in sorted(members, key=lambda member: str(member.endpoint.id)):
            owners |= dict.fromkeys(self._points(member), member)
        self._places = sorted(owners)
        self._order = list(map(owners.__getitem__, self._places))
        # The first place in each slot; it is the owner's of all before it that have none of their own.
        inside = map(int, map(mul, reversed(self._places), repeat(float(SLOTS))))
        first = dict(zip(inside, reversed(self._order), strict=True)).get
        owner = self._order[0]
        self.slots = [owner := first(slot, owner) for slot in range(SLOTS - 1, -1, -1)]
        self.slots.reverse()

    def _count(self, members: Sequence[Any]) -> None:
        self.candidates, self.members = members, frozenset(members)
        self._weights = {member: member.weight for member in members}
        self._weight = sum(self._weights.values())

    def _points(self, member: Any) -> Sequence[float]:
        share = self._vnodes * self._scale * self._weights[member]
        return points(member.endpoint.id, max(1, round(share)))

    def of(self, members: Sequence[Any]) -> Ring | None:
        """The ring of `members` alone, if they are some of those the first of these rings was made of.

        It costs what moves, not what stays. None if a weight has changed, or all have other places.
        """
        root = self._root
        known = root._weights
        if any(known.get(member) != member.weight for member in members):
            return None
        if _scale([member.weight for member in members], root._vnodes) != root._scale:
            return None
        ring: Ring = Ring.__new__(Ring)
        ring._root, ring._vnodes, ring._scale = root, root._vnodes, root._scale
        ring._places, ring._order, ring.slots = root._places, root._order, root.slots
        ring._count(members)
        gone = root.members - ring.members
        if gone:
            ring.slots = root.slots.copy()
            for member in gone:
                ring._give_away(member)
        return ring

    def _give_away(self, member: Any) -> None:
        """The slots of one that is not of this ring go to the next on it."""
        places, order, slots = self._places, self._order, self.slots
        for place in self._root._points(member):
            at = bisect_left(places, place)
            heir, after = order[at], at
            while heir not in self.members:
                after = after + 1 if after + 1 < len(order) else 0
                heir = order[after]
            first = int(places[at - 1] * SLOTS) + 1 if at else 0
            last = int(place * SLOTS)
            slots[first : last + 1] = [heir] * (last + 1 - first)
            if not at:  # what begins after the last place is the first one's
                rest = int(places[-1] * SLOTS) + 1
                slots[rest:] = [heir] * (SLOTS - rest)

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

        Its part is by weight, of the calls on all (those `among`), this one included, rounded up. Where
        the pool keeps count of its members' calls nobody is looked at but `member`.
        """
        busy = member.in_flight
        if not busy:
            return True
        if among is None and (peers := self.peers()) is not None:
            needed = busy * self._weight / (bound * member.weight) * EXACT  # busy + 1 <= ceil(x): busy < x
            return bool(peers.in_flight + 1 > needed) or bool(peers.recounted() + 1 > needed)
        calls, weight = self._sums(among)
        return bool(busy * weight / (bound * member.weight) * EXACT < calls)

    def peers(self) -> Any:
        """Who keeps count of the candidates' calls; None: nobody does."""
        peers = getattr(self.candidates[0], "peers", None)
        return peers if peers is not None and peers.members is self.candidates else None

    def part(self, bound: float) -> float:
        """For whom one more call fits, its calls per weight times this are fewer than all and that one."""
        return float(self._weight / bound * EXACT)

    def _sums(self, among: Collection[Any] | None) -> tuple[int, float]:
        """The calls in flight on all (those `among`) and one more, and what they weigh together."""
        if among is None:
            peers = self.peers()
            calls = sum(map(_in_flight, self.candidates)) if peers is None else peers.in_flight
            return calls + 1, self._weight
        return sum(map(_in_flight, among)) + 1, sum(member.weight for member in among)

    def spill(self, bits: int, bound: float, rng: Random, among: Collection[Any] | None = None) -> Any:
        """Who answers instead of a home that is full: the first that fits, in the order of a key's digest.

        At most one in `bound` can be full, so that `bound / (bound - 1)` tries are expected, however
        many endpoints there are. A key that has filled its own places goes where chance says.
        """
        calls, weight = self._sums(among)
        most = bound * calls / weight / EXACT  # calls in flight per weight, before this one
        slots, home = self.slots, None if among is None else self.home
        for bits_of_try in self._tries(bits, bound, rng):
            member = slots[bits_of_try >> 48] if home is None else home(bits_of_try, among)
            if not member.in_flight or member.in_flight < most * member.weight:
                return member
        return least_busy(self.candidates if among is None else among, bits)

    def _tries(self, bits: int, bound: float, rng: Random) -> Iterator[int]:
        seeds = bits.to_bytes(8, "little")
        for seed in range(1, TRIES + 1):
            yield xxh3_64_intdigest(seeds, seed)
        for _ in range(ceil(SURE * bound / (bound - 1.0))):
            yield rng.getrandbits(64)


def least_busy(members: Collection[Any], bits: int) -> Any:
    """The one with the fewest calls in flight for its weight; a key's digest decides between equals."""
    return min(members, key=lambda m: (m.in_flight / m.weight, digest(m.endpoint.id, bits)))


def _scale(weights: Sequence[float], vnodes: int) -> float:
    """What weights are multiplied by, a power of two: a change of one rarely moves the others' points.

    1 unless all weigh less than 1 (they need more points) or their points are too many.
    """
    heaviest, scale = max(weights), 1.0
    if heaviest < 1.0:
        scale = 2.0 ** min(1000, -int(log2(heaviest) // 1))  # 1024 is more than a float can hold
    while scale * vnodes * sum(weights) > MOST_POINTS:
        scale /= 2.0
    return scale
