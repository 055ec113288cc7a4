"""One endpoint per key, as long as it can bear it: sessions stay where their cache is.

The ring is `langchain_cluster.balancer.ring`. A call without a key goes to the less busy of two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from math import isfinite
from operator import attrgetter
from random import Random
from typing import Any

from xxhash import xxh3_64_intdigest

from langchain_cluster.balancer.power_of_two import PowerOfTwo
from langchain_cluster.balancer.ring import Ring, digest
from langchain_cluster.balancer.tables import Choose, Tables
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request


class ConsistentHash:
    """The key's home on a hash ring; when that is full, another place of the key's own.

    Args:
        vnodes: points on the ring of an endpoint of weight 1, 1 to 10,000. More share more evenly: with
            160 each of 100 endpoints has within about 20 % of its part of the keys.
        bound: how much more than its part of the calls in flight an endpoint may have, > 1. A smaller
            one spreads better and moves more keys away from home.
        key: what a request is kept together by: a field of `Request` that holds a text, or a function of
            the request; None as its value: a request without a key.

    Raises:
        ConfigError: a value out of range. From `pick`: a key that is no text.
    """

    name = "consistent_hash"

    def __init__(
        self, vnodes: int = 160, bound: float = 1.25, key: str | Callable[[Request], str | None] = "key"
    ) -> None:
        if type(vnodes) is not int or not 1 <= vnodes <= 10_000:
            raise ConfigError(f"vnodes {vnodes!r} is not an integer from 1 to 10000", key="balancer.vnodes")
        self.vnodes, self.bound = vnodes, checked_bound(bound)
        if isinstance(key, str):
            valid = [spec.name for spec in fields(Request) if str(spec.type) == "str | None"]
            if key not in valid:
                raise ConfigError(f"no text {key!r} in a request", key="balancer.key", valid=valid, got=key)
        elif not callable(key):
            raise ConfigError(f"{key!r} is neither a field's name nor a function", key="balancer.key")
        self.key = key
        self._key_of = attrgetter(key) if isinstance(key, str) else key
        self._two = PowerOfTwo()
        self._tables: Tables[tuple[Ring, Choose]] = Tables(self._table)

    def prepare(self, candidates: Sequence[Any], rng: Random) -> Choose:
        """Picks among `candidates`, which will be asked for often; see `ports.Prepares`."""
        return self._tables.keep(candidates, rng)[1][1]

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The key's home among `candidates` if one more call fits there, else where the key spills to."""
        known, table = self._tables.last
        if known is candidates:
            return table[1](request, now)
        key = self._key_of(request)
        if key is None:
            return self._two.pick(candidates, request, now, rng)
        bits = digest(_text(key))
        ring, among = ring_for(self._tables, candidates, rng)
        home = ring.home(bits, among)
        return home if ring.fits(home, self.bound, among) else ring.spill(bits, self.bound, rng, among)

    def _table(self, candidates: Sequence[Any], rng: Random) -> tuple[Ring, Choose]:
        ring = ring_of(self._tables, candidates, self.vnodes)
        slots, fits, spill, bound = ring.slots, ring.fits, ring.spill, self.bound
        key_of, two = self._key_of, self._two.prepare(candidates, rng)
        part, usual = ring.part(bound), self.key == "key"
        counted = ring.peers() is not None

        def choose(request: Request, now: float) -> Any:
            key = request.key if usual else key_of(request)
            if key is None:
                return two(request, now)
            try:
                bits = xxh3_64_intdigest(key.encode())
            except (AttributeError, UnicodeEncodeError):  # no text, or half of a surrogate pair
                bits = digest(_text(key))
            home = slots[bits >> 48]
            busy = home.in_flight
            if not busy:
                return home
            # As `fits`, in place: all but a few homes do.
            if counted:
                peers = home.peers
                if busy * part < home.weight * (peers.in_flight + 1) and peers.members is candidates:
                    return home
            return home if fits(home, bound) else spill(bits, bound, rng)

        return ring, choose

    def __repr__(self) -> str:
        return f"ConsistentHash(vnodes={self.vnodes}, bound={self.bound:g})"


def checked_bound(bound: float) -> float:
    """`bound` if it is a finite number > 1; ConfigError otherwise."""
    if type(bound) not in (int, float) or not bound > 1.0 or not isfinite(bound):
        raise ConfigError(f"bound {bound!r} is not a finite number > 1", key="balancer.bound")
    return bound


def _text(key: object) -> str:
    if type(key) is not str:
        raise ConfigError(f"{key!r} is not a text, and keys are hashed as texts", key="request.key")
    return key


def ring_of(tables: Tables[tuple[Ring, Choose]], candidates: Sequence[Any], vnodes: int) -> Ring:
    """The ring of `candidates`, from one that is there if that can be."""
    for _, (ring, _) in tables:
        if (found := ring.of(candidates)) is not None:
            return found
    return Ring(candidates, vnodes)


def ring_for(
    tables: Tables[tuple[Ring, Choose]], candidates: Sequence[Any], rng: Random
) -> tuple[Ring, Collection[Any] | None]:
    """A ring to find homes on, and whom among it to consider; None: all.

    Candidates that are here for the first time may be gone at once, so a ring that they are part of will
    do: walking on to the next of them finds the same homes as a ring of their own.
    """
    entry = tables.find(candidates, rng)
    if entry is not None:
        return entry[1][0], None
    among = frozenset(candidates)
    for _, (ring, _) in tables:
        if among <= ring.members:
            return ring, among
    return tables.keep(tuple(candidates), rng)[1][0], None
