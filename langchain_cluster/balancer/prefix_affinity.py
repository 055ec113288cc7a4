"""Calls that begin alike go to one place, where the beginning is computed already.

An endpoint that has seen a prompt's beginning answers from its KV cache and computes only the rest
(vLLM, SGLang and llama.cpp report it as `cached_tokens`). SGLang's router keeps a tree of all prompts,
llm-d asks the endpoints; a hash of the first blocks needs neither, is the same in every process, and its
65,536 slots are all the memory it takes.

Affinity gives way where it costs more than it saves: when the home has more than its part of the calls
in flight, or answers several times slower than where the key would spill to. Only candidates count as
load: SGLang's router also counts what is dead, and so takes its living endpoints for overloaded.

A home that is slow piles up calls in flight and spills by that alone. Its latency is the weaker sign: a
prompt that is computed for the first time takes ten to fifty times as long as one that is cached, so a
home that has just met a new prompt looks sick. Only a much larger factor tells. (On two llama.cpp servers
factors of 3 and of 30 undid what affinity saves; see tests/benchmarks/prefix.py.)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite
from random import Random
from typing import Any

from langchain_cluster.balancer.consistent_hash import checked_bound, ring_for, ring_of
from langchain_cluster.balancer.power_of_two import PowerOfTwo
from langchain_cluster.balancer.ring import Ring, digest
from langchain_cluster.balancer.tables import Choose, Tables
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request

BLOCK = 64  # characters; about 16 tokens, vLLM's unit of caching
VNODES = 160
DECAY = 10.0  # seconds for an old latency to lose 63 % of its weight, as in `peak_ewma`


class PrefixAffinity:
    """The home of the request's `prefix` on a hash ring, unless it is busy or slow.

    Args:
        blocks: how many blocks of 64 characters of the prefix count, >= 1. Too few and different prompts
            share a home; too many and prompts that share their beginning part. A last part that does not
            fill a block does not count, unless it is all there is.
        bound: how much more than its part of the calls in flight a home may have, > 1.
        penalty: how many times as long as elsewhere an answer may take at home, >= 1. Well above what a
            prompt that is computed anew takes beside one that is cached, or every new prompt drives the
            others from their home.

    Raises:
        ConfigError: a value out of range. From `pick`: a prefix that is no text.
    """

    name = "prefix_affinity"

    def __init__(self, blocks: int = 16, bound: float = 1.25, penalty: float = 100.0) -> None:
        if type(blocks) is not int or blocks < 1:
            raise ConfigError(f"blocks {blocks!r} is not an integer >= 1", key="balancer.blocks")
        if type(penalty) not in (int, float) or not penalty >= 1.0 or not isfinite(penalty):
            raise ConfigError(f"penalty {penalty!r} is not a finite number >= 1", key="balancer.penalty")
        self.blocks, self.bound, self.penalty = blocks, checked_bound(bound), penalty
        self._characters = blocks * BLOCK
        self._two = PowerOfTwo()
        self._tables: Tables[tuple[Ring, Choose]] = Tables(self._table)

    def prepare(self, candidates: Sequence[Any], rng: Random) -> Choose:
        """Picks among `candidates`, which will be asked for often; see `ports.Prepares`."""
        return self._tables.keep(candidates, rng)[1][1]

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The prefix's home, or where it spills to; without a prefix the less busy of two."""
        known, table = self._tables.last
        if known is candidates:
            return table[1](request, now)
        if not request.prefix:
            return self._two.pick(candidates, request, now, rng)
        bits = request.prefix_digest
        if bits is None:
            bits = self.digest_of(request.prefix, request.model)
        ring, among = ring_for(self._tables, candidates, rng)
        home = ring.home(bits, among)
        if not ring.fits(home, self.bound, among):
            return ring.spill(bits, self.bound, rng, among)
        second = ring.home(bits << 16 & 0xFFFF_FFFF_FFFF_FFFF, among)  # other bits of the same digest
        slow = self._too_slow(home, second, now) and ring.fits(second, self.bound, among)
        return second if slow else home

    def digest_of(self, prefix: str, model: str | None) -> int:
        """64 bits of the blocks of `prefix` that count, and of `model`; see `ports.ReadsPrefixes`."""
        if type(prefix) is not str:
            raise ConfigError(f"{prefix!r} is not a text", key="request.prefix")
        characters = self._characters
        if len(prefix) < characters:  # whole blocks, or what there is
            characters = len(prefix) // BLOCK * BLOCK or BLOCK
        return digest(prefix[:characters], 0 if model is None else digest(model))

    def _table(self, candidates: Sequence[Any], rng: Random) -> tuple[Ring, Choose]:
        ring = ring_of(self._tables, candidates, VNODES)
        slots, fits, spill, bound, penalty = ring.slots, ring.fits, ring.spill, self.bound, self.penalty
        two, digest_of = self._two.prepare(candidates, rng), self.digest_of
        part, counted = ring.part(bound), ring.peers() is not None

        def choose(request: Request, now: float) -> Any:
            prefix = request.prefix
            if not prefix:
                return two(request, now)
            bits = request.prefix_digest
            if bits is None:
                bits = digest_of(prefix, request.model)
            home, second = slots[bits >> 48], slots[bits >> 32 & 0xFFFF]
            busy = home.in_flight
            if busy:  # as `fits`, in place: all but a few homes do
                if counted:
                    peers = home.peers
                    fit = busy * part < home.weight * (peers.in_flight + 1) and peers.members is candidates
                else:
                    fit = False
                if not fit and not fits(home, bound):
                    return spill(bits, bound, rng)
            if home.ewma_seconds <= penalty * second.ewma_seconds:
                return home
            return second if self._too_slow(home, second, now) and fits(second, bound) else home

        return ring, choose

    def _too_slow(self, home: Any, other: Any, now: float) -> bool:
        here, there = home.ewma_seconds, other.ewma_seconds
        if there <= 0.0 or here <= self.penalty * there:
            return False
        # A latency nobody has measured again for a while is no reason to stay away for ever.
        return bool(here * exp(min(0.0, home.ewma_at - now) / DECAY) > self.penalty * there)

    def __repr__(self) -> str:
        return f"PrefixAffinity(blocks={self.blocks}, bound={self.bound:g}, penalty={self.penalty:g})"
