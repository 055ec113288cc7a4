"""Claims of questions in a Redis: one command takes a claim if nobody has it, and looks for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_cluster.cache import keyspace as ks
from langchain_cluster.cache.claims import STREAMING, Claim, Claims
from langchain_cluster.cache.prefixed import Prefixed
from langchain_cluster.plan.effects import Claimed


class RedisClaims:
    """Takes claims, and keeps those it has.

    Args:
        at: where. layer: as what the answers found there are told.
        lease: seconds one lasts that nobody renews, > 0.
    """

    def __init__(self, at: Prefixed, layer: str, lease: float) -> None:
        self._at, self._layer, self._lasts = at, layer, ks.whole(lease)
        self._claims = Claims(lease, self._renew, self._give)

    def claim(self, keys: Sequence[str], streaming: bool) -> Claimed:
        """See `RedisCache.claim`."""
        token = self._claims.token(streaming=streaming)
        return self._claimed(keys, token, self._at.several(ks.claim, keys, token, self._lasts))

    async def aclaim(self, keys: Sequence[str], streaming: bool) -> Claimed:
        """See `claim`."""
        token = self._claims.token(streaming=streaming)
        return self._claimed(keys, token, await self._at.aseveral(ks.claim, keys, token, self._lasts))

    def close(self) -> None:
        """Give back what was ended."""
        self._claims.close()

    def _claimed(self, keys: Sequence[str], token: bytes, said: list[Any]) -> Claimed:
        values, holder = said[1:-1], said[-1]
        claim: Claim | None = None
        if said[0] or holder == token:  # the latter when it was asked twice
            claim = self._claims.hold(self._at.keys.key(keys[0]) + ks.CLAIM, token)
        raw = next((value for value in values if value is not None), None)
        streaming = holder is not None and holder.startswith(STREAMING)
        return Claimed(raw, self._layer, claim, streaming=streaming, alone=holder == ks.OPEN)

    def _renew(self, claims: list[bytes]) -> None:
        self._at.guarded.ask(claims, ks.renew, claims, self._lasts)

    def _give(self, claim: bytes, token: bytes, shared: bool) -> None:
        script = ks.END if shared else ks.END_OPEN
        self._at.guarded.ask([claim], lambda client: client.eval(script, 1, claim, token))
