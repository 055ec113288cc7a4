"""Sharing among the clusters of one process: what one of them sees, the others hear at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from langchain_cluster.model.hearsay import Hearsay
from langchain_cluster.sharing.bounds import a_percentage


class LocalSharing:
    """A `Sharing` for all clusters that are handed this object; in tests it stands for Redis.

    Args:
        max_percent: of a pool that may be out for hearsay at one time, 0-100.

    Raises:
        ConfigError: it is no percentage.
    """

    def __init__(self, *, max_percent: float = 50.0) -> None:
        self.max_percent = a_percentage(max_percent, "LocalSharing.max_percent")
        self._joined: tuple[_Channel, ...] = ()

    def join(
        self,
        hear: Callable[[Hearsay], None],
        *,
        lost: Callable[[str], None],
        restored: Callable[[], None],
    ) -> _Channel:
        """Take part; what is said from now on is heard. Nothing can be lost here."""
        channel = _Channel(self, hear)
        self._joined = (*self._joined, channel)
        return channel

    def _leave(self, channel: _Channel) -> None:
        self._joined = tuple(other for other in self._joined if other is not channel)

    def _pass_on(self, said: Hearsay, channel: _Channel) -> None:
        for other in self._joined:
            if other is not channel:
                other.hear(said)

    def __repr__(self) -> str:
        return f"<LocalSharing, {len(self._joined)} take part>"


class _Channel:
    __slots__ = ("_sharing", "hear", "sender")

    def __init__(self, sharing: LocalSharing, hear: Callable[[Hearsay], None]) -> None:
        self._sharing, self.hear = sharing, hear
        self.sender = secrets.token_hex(8)

    def say(self, said: Hearsay) -> None:
        self._sharing._pass_on(replace(said, sender=self.sender), self)

    def close(self) -> None:
        self._sharing._leave(self)
