"""Single flight: of identical questions in flight one is asked, the others wait for its answer.

Nothing waits here. Who joins a flight leaves a callback; the drivers turn it into a blocked thread or
a suspended task.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class Flight:
    """One question that somebody is asking.

    Attributes:
        landed: whether it is over.
        raw: the encoded answer, None when there is none to share.
        error: what the leader's call failed with, None when it did not fail or was abandoned.
        streaming: whether the leader hands its answer out bit by bit, at its consumer's pace.
        terms: on what terms the leader asks (its policy): its error is another's only on the same terms.
        abandoned: whether the leader left before it knew: somebody else is to lead.
        handed: since when its consumer has had the latest bit and has not come back for more; None while
            the leader itself is at work.
        successor: what those wait for who had waited too long for this one.
    """

    __slots__ = (
        "_lock", "_waiting", "abandoned", "error", "handed", "landed", "raw", "streaming", "successor",
        "terms",
    )  # fmt: skip

    def __init__(self, *, streaming: bool, terms: object = None) -> None:
        self.terms = terms
        self.abandoned = False
        self.landed = False
        self.raw: bytes | None = None
        self.error: BaseException | None = None
        self.streaming = streaming
        self.successor: Flight | None = None
        self.handed: Callable[[], float | None] = _never
        self._lock = Lock()
        self._waiting: list[Callable[[], None]] = []

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once when the flight lands, at once if it has."""
        with self._lock:
            if not self.landed:
                self._waiting.append(tell)
                return
        tell()

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited has left."""
        with self._lock:
            if tell in self._waiting:
                self._waiting.remove(tell)

    def land(self, raw: bytes | None, error: BaseException | None, *, abandoned: bool = False) -> None:
        """The leader is done; everybody is told."""
        with self._lock:
            self.raw, self.error, self.abandoned, self.landed = raw, error, abandoned, True
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()


def _never() -> None:
    return None


class Flights:
    """All questions being asked now, by key."""

    __slots__ = ("_lock", "_under_way")

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: dict[str, Flight] = {}

    def join(self, key: str, *, streaming: bool = False, terms: object = None) -> tuple[Flight, bool]:
        """(the flight, whether the caller leads it). A leader must call `land`, whatever happens."""
        with self._lock:
            flight = self._under_way.get(key)
            if flight is not None:
                return flight, False
            flight = self._under_way[key] = Flight(streaming=streaming, terms=terms)
            return flight, True

    def land(
        self,
        key: str,
        flight: Flight,
        *,
        raw: bytes | None,
        error: BaseException | None,
        abandoned: bool = False,
    ) -> None:
        """The leader's call has ended: with an answer to share or to keep, with an error, or abandoned."""
        with self._lock:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
        flight.land(raw, error, abandoned=abandoned)

    def overtake(
        self, key: str, flight: Flight, *, streaming: bool = False, terms: object = None
    ) -> tuple[Flight, bool]:
        """As `join`, for one whom `flight` keeps waiting: the first to give it up leads its successor."""
        with self._lock:
            if flight.successor is not None:
                return flight.successor, False
            flight.successor = Flight(streaming=streaming, terms=terms)
            if self._under_way.get(key) is flight:
                self._under_way[key] = flight.successor
            return flight.successor, True

    def __len__(self) -> int:
        return len(self._under_way)
