"""A cluster's exact cache as users see it, where there is more to taking answers back than in the store."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_cluster.cache.selection import Invalidates, Selection, as_it_can


class Caches(Invalidates):
    """A store that takes answers back from a cache of meanings, too; everything else is the store's own.

    Args:
        store: a `CacheStore`; one that has no `invalidate` of its own is cleared by patterns.
        meanings: a `SemanticCache`; None for none.
    """

    def __init__(self, store: Any, meanings: Any) -> None:
        self.store, self.meanings = store, meanings

    @classmethod
    def around(cls, store: Any, meanings: Any) -> Any:
        """The store itself if it can do all there is to do."""
        if store is None or (meanings is None and isinstance(store, Invalidates)):
            return store
        return cls(store, meanings)

    def remove(self, selected: Selection) -> int:
        """See `Invalidates.invalidate`."""
        operation, given = as_it_can(self.store, selected)
        removed = int(getattr(self.store, operation)(*given))
        return removed + (self.meanings.remove(selected) if hasattr(self.meanings, "remove") else 0)

    async def aremove(self, selected: Selection) -> int:
        """See `remove`."""
        operation, given = as_it_can(self.store, selected)
        removed = int(await getattr(self.store, f"a{operation}")(*given))
        if hasattr(self.meanings, "remove"):
            removed += await asyncio.to_thread(self.meanings.remove, selected)
        return removed

    def __getattr__(self, name: str) -> Any:
        if name in ("store", "meanings"):  # of a copy that has none yet
            raise AttributeError(name)
        return getattr(self.store, name)

    def __repr__(self) -> str:
        return repr(self.store)
