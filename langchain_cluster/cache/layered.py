"""Several stores as one, the nearest first: who is asked, who is written, and what if one of them fails.

A look goes from the nearest layer to the farthest and writes what it finds into those before, for the time
it has left. Every operation is one generator that asks layers, and is run in either colour, as plans are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from langchain_cluster.cache.backlog import Backlog
from langchain_cluster.cache.coherence import Coherence
from langchain_cluster.cache.glob import matcher
from langchain_cluster.cache.lifetime import checked, sooner
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.errors import ConfigError
from langchain_cluster.plan.effects import Found
from langchain_cluster.ports import CacheStore

T = TypeVar("T")
WriteMode = Literal["through", "back"]


class Ask(NamedTuple):
    """Call an operation of a layer; in the awaited colour, its twin."""

    layer: Any
    operation: str
    given: tuple[Any, ...]


Asking = Generator[Ask, Any, T]


class LayeredCache:
    """Stores asked one after the other.

    Args:
        layers: the nearest (and fastest) first, at least one.
        write: "through": a write goes to all layers before it returns; "back": to the first, and to the
            others soon, by a thread. A process that dies loses at most `max_pending` writes.
        max_pending: writes that may wait with "back", >= 1; the oldest is dropped for a newer one.
        fallback_ttl: seconds the layers before a shared store (`RedisCache`) keep an entry at most while they
            are not told of changes there; while they are, an entry others change is gone at once. > 0.
        clock: monotonic seconds.

    Each layer's own time to live bounds how long it keeps an entry. A layer that fails is passed over: the
    errors are counted in `stats()`, and of a call they are events.

    Raises:
        ConfigError: no layer, one that is no store, or an unknown way to write.
    """

    name = "layered"

    def __init__(
        self,
        layers: Iterable[CacheStore],
        write: WriteMode = "through",
        *,
        max_pending: int = 1_000,
        fallback_ttl: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.layers = tuple(layers)
        if not self.layers:
            raise ConfigError("no layers: give at least one store", key="cache.layers")
        for layer in self.layers:
            if not hasattr(layer, "aget"):
                raise ConfigError(f"{type(layer).__name__} is no store", key="cache.layers")
        if write not in get_args(WriteMode):
            raise ConfigError(f"unknown write {write!r}", key="cache.write", valid=get_args(WriteMode))
        if type(max_pending) is not int or max_pending < 1:
            raise ConfigError(f"max_pending {max_pending!r} is not an integer >= 1", key="cache.max_pending")
        self.write = write
        self._backlog = Backlog(self._write_later, max_pending, clock)
        shared = next((n for n, layer in enumerate(self.layers) if hasattr(layer, "listen")), 0)
        self._coherence = (
            Coherence(self.layers[:shared], self.layers[shared], checked(fallback_ttl)) if shared else None
        )
        self._hits = self._misses = self._sets = self._errors = 0

    @property
    def longest(self) -> float:
        """Seconds an operation may block at most, all layers together; infinite if one cannot say."""
        return sum(_longest(layer) for layer in self.layers)

    # -- reading ------------------------------------------------------------------------------------

    def glance(self, keys: Sequence[str]) -> Found | None:
        """What the first layer holds, if it is one that never blocks."""
        first = self.layers[0]
        if _longest(first) != 0.0:
            return None
        for key in keys:
            raw = first.get(key) if first.exists(key) else None
            if raw is not None:
                self._hits += 1
                return Found(raw, first.name)
        return None

    def find(self, keys: Sequence[str]) -> Found | None:
        """The first of `keys` that the nearest layer holds, and which layer that is."""
        return run(self._find(keys))

    async def afind(self, keys: Sequence[str]) -> Found | None:
        """See `find`."""
        return await arun(self._find(keys))

    def find_each(self, keys: Sequence[str]) -> list[Found | None]:
        """What lies under each of `keys`, and in which layer."""
        return run(self._find_each(keys, every=True))[0]

    async def afind_each(self, keys: Sequence[str]) -> list[Found | None]:
        """See `find_each`."""
        return (await arun(self._find_each(keys, every=True)))[0]

    def get(self, key: str) -> bytes | None:
        """The value, None if no layer that can be asked holds one."""
        found = self.glance((key,)) or self.find((key,))
        return None if found is None else found.raw

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        found = self.glance((key,)) or await self.afind((key,))
        return None if found is None else found.raw

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        return [None if found is None else found.raw for found in self.find_each(keys)]

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        return [None if found is None else found.raw for found in await self.afind_each(keys)]

    def exists(self, key: str) -> bool:
        """Whether a layer that can be asked holds a value; counts as no lookup."""
        return run(self._exists(key))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return await arun(self._exists(key))

    # -- writing ------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> tuple[str, ...]:
        """As `set`; the names of the errors of layers that could not be written."""
        return run(self._set({key: value}, None))

    async def aput(self, key: str, value: bytes) -> tuple[str, ...]:
        """See `put`."""
        return await arun(self._set({key: value}, None))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, or each layer's own time if that is shorter."""
        run(self._set({key: value}, ttl))

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await arun(self._set({key: value}, ttl))

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        run(self._set(items, ttl))

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        await arun(self._set(items, ttl))

    # To take something back must not be half done in silence: these raise what a layer raised, after all
    # layers were asked.

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        return bool(run(self._everywhere("expire", key, checked(ttl), forget=(key,))))

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return bool(await arun(self._everywhere("expire", key, checked(ttl), forget=(key,))))

    def delete(self, key: str) -> bool:
        """Remove an entry from all layers; whether there was one."""
        return bool(run(self._everywhere("delete", key, forget=(key,))))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await arun(self._everywhere("delete", key, forget=(key,))))

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were in the layer that held most of them."""
        return run(self._everywhere("mdelete", keys, forget=keys))

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return await arun(self._everywhere("mdelete", keys, forget=keys))

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob; how many there were in the fullest layer."""
        return run(self._everywhere("clear", pattern, forget=matcher(pattern)))

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return await arun(self._everywhere("clear", pattern, forget=matcher(pattern)))

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Lookups and writes of the whole; entries and bytes of the fullest layer; the layers' own losses."""
        of = [layer.stats() for layer in self.layers if hasattr(layer, "stats")]
        return CacheStats(
            self._hits,
            self._misses,
            self._sets,
            sum(one.evictions for one in of),
            sum(one.expired for one in of),
            max((one.entries for one in of), default=0),
            max((one.bytes for one in of), default=0),
            self._errors,
            self._backlog.lost,
        )

    def close(self) -> None:
        """Make the writes that wait, then close the layers."""
        self._backlog.close()
        if self._coherence is not None:
            self._coherence.close()
        for layer in self.layers:
            layer.close()

    async def aclose(self) -> None:
        """See `close`."""
        await asyncio.to_thread(self._backlog.close)
        if self._coherence is not None:
            await asyncio.to_thread(self._coherence.close)
        for layer in self.layers:
            await layer.aclose()

    def __repr__(self) -> str:
        waiting = f", {len(self._backlog)} writes waiting" if self.write == "back" else ""
        return f"<LayeredCache write-{self.write}{waiting}: {', '.join(map(repr, self.layers))}>"

    # -- each operation, once -----------------------------------------------------------------------

    def _find(self, keys: Sequence[str]) -> Asking[Found | None]:
        found, failed = yield from self._find_each(keys, every=False)
        first = next((one for one in found if one is not None), None)
        if first is None:
            return Found(None, "miss", failed) if failed else None
        return Found(first.raw, first.layer, failed)

    def _find_each(
        self, keys: Sequence[str], *, every: bool
    ) -> Asking[tuple[list[Found | None], tuple[str, ...]]]:
        """What is found under each key, and the errors met; one of them is enough unless `every`."""
        found: dict[str, Found] = {}
        failed: list[str] = []
        notes: dict[str, object] = {}
        coherence = self._coherence
        if coherence is not None:
            coherence.start()
        for number, layer in enumerate(self.layers):
            missing = [key for key in dict.fromkeys(keys) if key not in found]
            if not missing or (found and not every):
                break
            if coherence is not None and layer is coherence.store:
                notes = coherence.note(missing)
            try:
                # Only what is to be written into the layers before must tell how long it lives.
                timed = number > 0 and hasattr(layer, "entries")
                if timed:
                    entries = yield Ask(layer, "entries", (missing,))
                elif len(missing) == 1:
                    raws = [(yield Ask(layer, "get", (missing[0],)))]
                else:
                    raws = yield Ask(layer, "mget", (missing,))
                if not timed:
                    entries = [None if raw is None else (raw, None) for raw in raws]
            except Exception as error:
                self._errors += 1
                failed.append(type(error).__name__)
                continue
            for key, entry in zip(missing, entries, strict=True):
                waits = self._backlog.get(key) if entry is None and number == 0 else None
                if waits is not None:
                    found[key] = Found(waits, layer.name)
                elif entry is not None:
                    found[key] = Found(entry[0], layer.name)
                    yield from self._fill(number, key, *entry)
        if coherence is not None and notes:
            yield from self._drop(coherence.stale(notes))
        wanted = [found.get(key) for key in keys]
        if every:
            self._hits += sum(one is not None for one in wanted)
            self._misses += sum(one is None for one in wanted)
        elif found:
            self._hits += 1
        else:
            self._misses += 1
        return wanted, tuple(failed)

    def _fill(self, number: int, key: str, raw: bytes, left: float | None) -> Asking[None]:
        """Write what layer `number` held into those before it."""
        for layer in self.layers[:number]:
            try:
                yield Ask(layer, "set", (key, raw, self._lives(layer, left)))
            except Exception:
                self._errors += 1

    def _lives(self, layer: Any, ttl: float | None) -> float | None:
        """How long a layer keeps what may live for `ttl` seconds; None is for as long as it likes."""
        lives = None if ttl is None else sooner(ttl, getattr(layer, "ttl", None))
        return lives if self._coherence is None else self._coherence.lives(layer, lives)

    def _drop(self, keys: list[str]) -> Asking[None]:
        """Take back what was put before the shared store while it changed there."""
        assert self._coherence is not None
        for layer in self._coherence.near if keys else ():
            try:
                yield Ask(layer, "mdelete", (keys,))
            except Exception:
                self._errors += 1

    def _set(self, items: Mapping[str, bytes], ttl: float | None) -> Asking[tuple[str, ...]]:
        if ttl is not None:
            checked(ttl)
        if not items:
            return ()
        layers = self.layers[:1] if self.write == "back" else self.layers[::-1]
        failed: list[Exception] = []
        coherence = self._coherence
        notes: dict[str, object] = {}
        if coherence is not None:
            coherence.start()
            notes = coherence.note(items)
            for key, value in items.items():
                coherence.wrote(key, value)
        for layer in layers:
            lives = self._lives(layer, ttl)
            try:
                if len(items) == 1:
                    yield Ask(layer, "set", (*next(iter(items.items())), lives))
                else:
                    yield Ask(layer, "mset", (items, lives))
            except Exception as error:
                self._errors += 1
                failed.append(error)
        if coherence is not None:
            yield from self._drop(coherence.stale(notes))
        if self.write == "back" and len(self.layers) > 1:
            for key, value in items.items():
                self._backlog.add(key, value, ttl)
        elif len(failed) == len(layers):
            raise failed[-1]
        self._sets += len(items)
        return tuple(type(error).__name__ for error in failed)

    def _write_later(self, key: str, value: bytes, ttl: float | None) -> None:
        failed: list[Exception] = []
        if self._coherence is not None:
            self._coherence.wrote(key, value)
        for layer in self.layers[1:]:
            try:
                layer.set(key, value, self._lives(layer, ttl))
            except Exception as error:
                self._errors += 1
                failed.append(error)
        if failed:
            raise failed[0]

    def _exists(self, key: str) -> Asking[bool]:
        if self._backlog.get(key) is not None:
            return True
        for layer in self.layers:
            try:
                if (yield Ask(layer, "exists", (key,))):
                    return True
            except Exception:
                self._errors += 1
        return False

    def _everywhere(
        self, operation: str, *given: Any, forget: Callable[[str], object] | Iterable[str]
    ) -> Asking[int]:
        """An operation on all layers, the farthest first; the largest of their answers."""
        if self.write == "back":
            if operation == "expire":
                yield Ask(_Later(self._backlog), "flush", ())
            else:
                yield Ask(_Later(self._backlog), "forget", (forget,))
        answers, failed = [0], None
        for layer in self.layers[::-1]:
            try:
                answers.append((yield Ask(layer, operation, given)))
            except Exception as error:
                self._errors += 1
                failed = error
        if failed is not None:
            raise failed
        return max(answers)


class _Later:
    """The backlog as layers are asked; waiting for it must not stop an event loop."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog

    def forget(self, meant: Callable[[str], object] | Iterable[str]) -> None:
        self._backlog.forget(meant)

    async def aforget(self, meant: Callable[[str], object] | Iterable[str]) -> None:
        await asyncio.to_thread(self._backlog.forget, meant)

    def flush(self) -> None:
        self._backlog.close()

    async def aflush(self) -> None:
        await asyncio.to_thread(self._backlog.close)


def _longest(layer: Any) -> float:
    """As drivers read it: it counts for the class that says so, not for those that inherit from it."""
    return float(layer.longest) if "longest" in vars(type(layer)) else inf


def run(asking: Asking[T]) -> T:
    """Ask layers by blocking."""
    try:
        ask = next(asking)
        while True:
            try:
                answer = getattr(ask.layer, ask.operation)(*ask.given)
            except Exception as error:
                ask = asking.throw(error)
            else:
                ask = asking.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def arun(asking: Asking[T]) -> T:
    """Ask layers by awaiting their twins."""
    try:
        ask = next(asking)
        while True:
            try:
                answer = await getattr(ask.layer, f"a{ask.operation}")(*ask.given)
            except Exception as error:
                ask = asking.throw(error)
            else:
                ask = asking.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
