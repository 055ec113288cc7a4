"""The entries under one prefix of a Redis: what a question for their keys concerns, and what was counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from langchain_cluster.cache import keyspace as ks
from langchain_cluster.cache.clients import Clients
from langchain_cluster.cache.guarded import Guarded
from langchain_cluster.cache.lifetime import checked, lifetime
from langchain_cluster.model.policy import BreakerPolicy

Command = tuple[Any, ...]


class Prefixed:
    """Asks, behind `Guarded`, for keys of a `Keyspace`.

    Args:
        clients: makes connections. prefix: of every key.
        ttl: seconds an entry lives, give or take a tenth; None is for ever.
        breaker: of the circuits; None for the usual ones. rng: for jitter.
    """

    def __init__(
        self, clients: Clients, prefix: str, ttl: float | None, breaker: BreakerPolicy | None, rng: Random
    ) -> None:
        self.keys = ks.Keyspace(prefix, cluster=clients.address.kind == "cluster")
        self.guarded = Guarded(clients, breaker, rng)
        self._ttl, self._rng = ttl, rng
        self.hits = self.misses = self.sets = 0

    # -- what is asked ------------------------------------------------------------------------------

    def one(self, ask: Callable[..., Any], key: str, *given: Any) -> Any:
        """What `ask(client, key, *given)` answers."""
        whole = self.keys.key(key)
        return self.guarded.ask((whole,), ask, whole, *given)

    async def aone(self, ask: Callable[..., Any], key: str, *given: Any) -> Any:
        """See `one`."""
        whole = self.keys.key(key)
        return await self.guarded.aask((whole,), ask, whole, *given)

    def several(self, ask: Callable[..., Any], keys: Sequence[str], *given: Any) -> Any:
        """What `ask(client, keys, *given)` answers."""
        whole = [self.keys.key(key) for key in keys]
        return self.guarded.ask(whole, ask, whole, *given)

    async def aseveral(self, ask: Callable[..., Any], keys: Sequence[str], *given: Any) -> Any:
        """See `several`."""
        whole = [self.keys.key(key) for key in keys]
        return await self.guarded.aask(whole, ask, whole, *given)

    def everywhere(self, steps: Callable[[Any], ks.Steps[Any]]) -> Any:
        """What steps over all masters come to."""
        return self.guarded.ask((), lambda client: ks.run(steps(client)))

    async def aeverywhere(self, steps: Callable[[Any], ks.Steps[Any]]) -> Any:
        """See `everywhere`."""
        return await self.guarded.aask((), lambda client: ks.arun(steps(client)))

    def write(self, items: Mapping[str, bytes], ttl: float | None) -> None:
        """Write all of `items`."""
        if commands := self._puts(items, ttl):
            self.guarded.ask([command[1] for command in commands], ks.each, commands)
            self.sets += len(items)

    async def awrite(self, items: Mapping[str, bytes], ttl: float | None) -> None:
        """See `write`."""
        if commands := self._puts(items, ttl):
            await self.guarded.aask([command[1] for command in commands], ks.each, commands)
            self.sets += len(items)

    def _puts(self, items: Mapping[str, bytes], ttl: float | None) -> list[Command]:
        if ttl is not None:
            checked(ttl)
        key = self.keys.key
        return [ks.put_command(key(name), value, self.milliseconds(ttl)) for name, value in items.items()]

    def unlink(self, client: Any, keys: list[bytes]) -> int:
        """Remove keys; how many there were."""
        return ks.run(self.keys.unlink(client, keys))

    async def aunlink(self, client: Any, keys: list[bytes]) -> int:
        """See `unlink`."""
        return await ks.arun(self.keys.unlink(client, keys))

    def milliseconds(self, ttl: float | None) -> int | None:
        """How long an entry lives; None is for ever."""
        lives = lifetime(ttl, self._ttl, self._rng)
        return None if lives is None else ks.whole(lives)

    # -- what is answered ---------------------------------------------------------------------------

    def looked(self, value: Any) -> bytes | None:
        """A value that was looked for, counted."""
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        return value  # type: ignore[no-any-return]

    def all_looked(self, values: list[Any]) -> list[bytes | None]:
        """Several of them."""
        return [self.looked(value) for value in values]

    def entered(self, found: list[Any]) -> list[tuple[bytes, float | None] | None]:
        """Values and the milliseconds they have left, by turns: counted, and in seconds."""
        read: list[tuple[bytes, float | None] | None] = []
        for value, left in zip(found[::2], found[1::2], strict=True):
            looked = self.looked(value)
            # -1: it has no end; -2: it ended between the two.
            lasts = None if left == -1 else max(left, 1) / 1000
            read.append(None if looked is None else (looked, lasts))
        return read
