"""The `a`-twins of a store that never waits: the same operations, behind `async def`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence


class AsyncTwins(ABC):
    """For stores in memory, where awaiting would only cost a thread."""

    @abstractmethod
    def get(self, key: str) -> bytes | None: ...
    @abstractmethod
    def set(self, key: str, value: bytes, ttl: float | None = None) -> None: ...
    @abstractmethod
    def delete(self, key: str) -> bool: ...
    @abstractmethod
    def exists(self, key: str) -> bool: ...
    @abstractmethod
    def expire(self, key: str, ttl: float) -> bool: ...
    @abstractmethod
    def mget(self, keys: Sequence[str]) -> list[bytes | None]: ...
    @abstractmethod
    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None: ...
    @abstractmethod
    def mdelete(self, keys: Sequence[str]) -> int: ...
    @abstractmethod
    def clear(self, pattern: str = "*") -> int: ...
    @abstractmethod
    def close(self) -> None: ...

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        return self.get(key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        self.set(key, value, ttl)

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return self.delete(key)

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return self.exists(key)

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return self.expire(key, ttl)

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        return self.mget(keys)

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        self.mset(items, ttl)

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return self.mdelete(keys)

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return self.clear(pattern)

    async def aclose(self) -> None:
        """See `close`."""
        self.close()
