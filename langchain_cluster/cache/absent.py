"""Keys that no layer holds, remembered for a short time: what is never kept is not looked for anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

MOST = 10_000  # keys


class Absent:
    """Keys known to be absent.

    Args:
        ttl: seconds for which that is believed, > 0; None: nothing is remembered.
        clock: monotonic seconds.
    """

    def __init__(self, ttl: float | None, clock: Callable[[], float]) -> None:
        self._ttl, self._clock = ttl, clock
        self._until: dict[str, float] = {}

    def knows(self, key: str) -> bool:
        """Whether a key is known to be absent."""
        until = self._until.get(key)
        return until is not None and until > self._clock()

    def add(self, keys: Iterable[str], at_most: float | None = None) -> None:
        """These are absent; believe it for `at_most` seconds if that is shorter."""
        if self._ttl is None:
            return
        now = self._clock()
        if len(self._until) >= MOST:
            self._until = {key: until for key, until in list(self._until.items()) if until > now}
            if len(self._until) >= MOST:
                self._until.clear()
        until = now + (self._ttl if at_most is None else min(self._ttl, at_most))
        for key in keys:
            self._until[key] = until

    def delete(self, key: str) -> bool:
        """It may be there now."""
        return self._until.pop(key, None) is not None

    def mdelete(self, keys: Iterable[str]) -> int:
        """They may be there now."""
        return sum(self.delete(key) for key in keys)

    async def amdelete(self, keys: Iterable[str]) -> int:
        """See `mdelete`."""
        return self.mdelete(keys)

    def clear(self) -> int:
        """Nothing is known any more."""
        known, self._until = len(self._until), {}
        return known
