"""What processes tell one another through: a list of records that all read in one order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Journal(Protocol):
    """Told records, and read by whoever follows. Blocking, and used on one thread at a time.

    A place is where a record lies, as a text; an empty one is before the first. Whatever fails raises.
    """

    def append(self, records: Sequence[bytes]) -> None:
        """Add them at the end; the oldest may go."""

    def read(self, after: str, count: int) -> list[tuple[str, bytes]]:
        """(place, record) of at most `count` behind a place, the oldest first. Does not wait for more."""

    def restart(self, record: bytes) -> None:
        """Let all go, and begin with this one."""

    def resume(self, after: str) -> tuple[str, bool, int]:
        """Where to go on behind a place.

        Returns:
            (the place itself, or an empty one when the journal has begun anew since; whether it was
            restarted behind it; about how many records are to come).
        """

    def close(self) -> None:
        """Let connections go; whoever asks again gets new ones."""


class Journals(Protocol):
    """Gives a journal for each embedder: vectors of two models cannot be compared."""

    def open(self, fingerprint: str) -> Journal:
        """That of this embedder. Nothing connects yet."""
