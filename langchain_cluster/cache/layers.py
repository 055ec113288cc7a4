"""What several stores do as one, each operation once: a generator that asks layers, run in either colour.

A look goes from the nearest layer to the farthest and writes what it finds into those before, for the time
it has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Literal

from langchain_cluster.cache.absent import Absent
from langchain_cluster.cache.asking import Ask, Asking
from langchain_cluster.cache.backlog import Backlog
from langchain_cluster.cache.coherence import Coherence
from langchain_cluster.cache.lifetime import checked, sooner
from langchain_cluster.cache.listening import listens
from langchain_cluster.cache.selection import as_it_can
from langchain_cluster.plan.effects import Claimed, Found
from langchain_cluster.ports import Claim

WriteMode = Literal["through", "back"]


class Layers:
    """Stores, the nearest first, and what is known about them.

    Args:
        layers: at least one. write: "through" or "back".
        max_pending: writes that may wait with "back".
        fallback_ttl: seconds near layers keep an entry while a shared store is not listened to.
        negative_ttl: seconds for which a miss is remembered; None: not at all.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        layers: tuple[Any, ...],
        write: WriteMode,
        *,
        max_pending: int,
        fallback_ttl: float,
        negative_ttl: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.layers, self.write = layers, write
        self.backlog = Backlog(self._write_later, max_pending, clock)
        self.absent = Absent(negative_ttl, clock)
        self._remembers = negative_ttl is not None
        shared = next((n for n, layer in enumerate(layers) if listens(layer)), 0)
        near = (*layers[:shared], self.absent)
        self.coherence = Coherence(near, layers[shared], fallback_ttl) if shared else None
        self.claimant = next((layer for layer in layers if getattr(layer, "claims", False)), None)
        self.hits = self.misses = self.sets = self.errors = 0

    def find(self, keys: Sequence[str]) -> Asking[Found | None]:
        found, failed = yield from self.find_each(keys, every=False)
        first = next((one for one in found if one is not None), None)
        if first is None:
            return Found(None, "miss", failed) if failed else None
        return Found(first.raw, first.layer, failed)

    def find_each(
        self, keys: Sequence[str], *, every: bool
    ) -> Asking[tuple[list[Found | None], tuple[str, ...]]]:
        """What is found under each key, and the errors met; one of them is enough unless `every`."""
        found: dict[str, Found] = {}
        failed: list[str] = []
        notes: dict[str, object] = {}
        coherence = self.coherence
        if coherence is not None:
            coherence.start()
        for number, layer in enumerate(self.layers):
            missing = [key for key in dict.fromkeys(keys) if key not in found]
            if number > 0 and self._remembers:
                missing = [key for key in missing if not self.absent.knows(key)]
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
                self.errors += 1
                failed.append(type(error).__name__)
                continue
            for key, entry in zip(missing, entries, strict=True):
                waits = self.backlog.get(key) if entry is None and number == 0 else None
                if waits is not None:
                    found[key] = Found(waits, layer.name)
                elif entry is not None:
                    held_by = layer.store_of(key) if hasattr(layer, "store_of") else layer
                    found[key] = Found(entry[0], held_by.name)
                    yield from self._fill(number, key, *entry)
        if self._remembers and not failed and (every or not found):
            sure = coherence is None or coherence.listening
            unknown = [key for key in keys if key not in found and not self.absent.knows(key)]
            self.absent.add(unknown, None if sure else coherence.fallback_ttl)  # type: ignore[union-attr]
        if coherence is not None and notes:
            yield from self._drop(coherence.stale(notes))
        wanted = [found.get(key) for key in keys]
        if every:
            self.hits += sum(one is not None for one in wanted)
            self.misses += sum(one is None for one in wanted)
        elif found:
            self.hits += 1
        else:
            self.misses += 1
        return wanted, tuple(failed)

    def _fill(self, number: int, key: str, raw: bytes, left: float | None) -> Asking[None]:
        """Write what layer `number` held into those before it."""
        for layer in self.layers[:number]:
            try:
                yield Ask(layer, "set", (key, raw, self._lives(layer, left)))
            except Exception:
                self.errors += 1

    def _lives(self, layer: Any, ttl: float | None) -> float | None:
        """How long a layer keeps what may live for `ttl` seconds; None is for as long as it likes."""
        lives = None if ttl is None else sooner(ttl, getattr(layer, "ttl", None))
        return lives if self.coherence is None else self.coherence.lives(layer, lives)

    def _drop(self, keys: list[str]) -> Asking[None]:
        """Take back what was put before the shared store while it changed there."""
        assert self.coherence is not None
        for layer in self.coherence.near if keys else ():
            try:
                yield Ask(layer, "mdelete", (keys,))
            except Exception:
                self.errors += 1

    def set(self, items: Mapping[str, bytes], ttl: float | None) -> Asking[tuple[str, ...]]:
        if ttl is not None:
            checked(ttl)
        if not items:
            return ()
        self.absent.mdelete(items)
        layers = self.layers[:1] if self.write == "back" else self.layers[::-1]
        failed: list[Exception] = []
        coherence = self.coherence
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
                self.errors += 1
                failed.append(error)
        if coherence is not None:
            yield from self._drop(coherence.stale(notes))
        if self.write == "back" and len(self.layers) > 1:
            for key, value in items.items():
                self.backlog.add(key, value, ttl)
        elif len(failed) == len(layers):
            raise failed[-1]
        self.sets += len(items)
        return tuple(type(error).__name__ for error in failed)

    def _write_later(self, key: str, value: bytes, ttl: float | None) -> None:
        failed: list[Exception] = []
        if self.coherence is not None:
            self.coherence.wrote(key, value)
        for layer in self.layers[1:]:
            try:
                layer.set(key, value, self._lives(layer, ttl))
            except Exception as error:
                self.errors += 1
                failed.append(error)
        if failed:
            raise failed[0]

    def exists(self, key: str) -> Asking[bool]:
        if self.backlog.get(key) is not None:
            return True
        for layer in self.layers:
            try:
                if (yield Ask(layer, "exists", (key,))):
                    return True
            except Exception:
                self.errors += 1
        return False

    def everywhere(
        self, operation: str, *given: Any, forget: Callable[[str], object] | Iterable[str]
    ) -> Asking[int]:
        """An operation on all layers, the farthest first; the largest of their answers."""
        if self.write == "back":
            tagged = operation == "remove" and given[0].tag is not None  # a value tells that, not a key
            if operation == "expire" or tagged:
                yield Ask(_Later(self.backlog), "flush", ())
            else:
                yield Ask(_Later(self.backlog), "forget", (forget,))
        answers, failed = [0], None
        for layer in self.layers[::-1]:
            try:
                asked = as_it_can(layer, *given) if operation == "remove" else (operation, given)
                answers.append((yield Ask(layer, *asked)))
            except Exception as error:
                self.errors += 1
                failed = error
        if failed is not None:
            raise failed
        return max(answers)

    def claim(self, keys: Sequence[str], streaming: bool) -> Asking[Claimed]:
        """Claim a question in the layer that processes share."""
        claimed: Claimed = yield Ask(self.claimant, "claim", (keys, streaming))
        if claimed.claim is None or self.write == "through":
            return claimed
        return replace(claimed, claim=_AfterWrites(claimed.claim, self.backlog))


class _AfterWrites:
    """A claim of a question whose answer is still to be written where others look for it."""

    def __init__(self, claim: Claim, backlog: Backlog) -> None:
        self._claim, self._backlog = claim, backlog

    def end(self, *, shared: bool) -> None:
        """Give it back once what waits is written."""
        self._backlog.then(lambda: self._claim.end(shared=shared))


class _Later:
    """The backlog as layers are asked; waiting for it must not stop an event loop."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog

    def forget(self, meant: Callable[[str], object] | Iterable[str]) -> None:
        self._backlog.forget(meant)

    async def aforget(self, meant: Callable[[str], object] | Iterable[str]) -> None:
        await asyncio.to_thread(self._backlog.forget, meant)

    def flush(self) -> None:
        self._backlog.flush()

    async def aflush(self) -> None:
        await asyncio.to_thread(self._backlog.flush)


def longest(layer: Any) -> float:
    """As drivers read it: it counts for the class that says so, not for those that inherit from it."""
    return float(layer.longest) if "longest" in vars(type(layer)) else inf
