"""Follow discovery sources: each that waits for changes on a thread of its own, from start to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from langchain_cluster.drive.background import Background
from langchain_cluster.drive.gate import Gate
from langchain_cluster.drive.rosters import Factory, Keeper, Rosters
from langchain_cluster.errors import DiscoveryError
from langchain_cluster.guard.outage import Outage
from langchain_cluster.model.endpoint import Endpoint, Roster
from langchain_cluster.model.events import DiscoveryFailed, DiscoveryRecovered
from langchain_cluster.model.stability import StabilityPolicy
from langchain_cluster.plan.watch import watch
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import Clock, Discovery, EventListener

GRACE = 2.0  # seconds a thread is waited for at the end; its source may be in a long poll
_LONGEST = 200  # characters of an error in an event


class Followers:
    """Keeps a pool equal to what its sources say, and closes those that have a `close`.

    A source with a `subscribe` tells of its changes itself, and its `fetch` never waits: it needs no
    thread. One whose `watched` is False is read once.

    Args:
        fixed: endpoints that are always there; they win over a source's with the same id.
        sources: in the order of precedence.
        pool, clock, emit, stability, factory, keeper: see `Rosters`.
    """

    def __init__(
        self,
        fixed: Iterable[Endpoint],
        sources: Sequence[Discovery],
        pool: Pool,
        clock: Clock,
        emit: EventListener,
        *,
        stability: StabilityPolicy | None = None,
        factory: Factory | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._sources, self._clock, self._emit = sources, clock, emit
        self._names = [f"{type(source).__name__} {number}" for number, source in enumerate(sources)]
        certain = [_tells(source) or not _watched(source) for source in sources]
        self._rosters = Rosters(fixed, self._names, certain, pool, clock, emit, stability, factory, keeper)
        self._patience = None if keeper is None or stability is None else stability.patience
        self._away = [Outage() for _ in sources]
        self._answered: list[float | None] = [None for _ in sources]
        self._threads: list[Background] = []
        self._unsubscribe: list[Callable[[], None]] = []
        self.ready = Gate()

    def start(self) -> None:
        """Read what does not wait, begin to watch what does. Never waits for a source."""
        waits = False
        for number, source in enumerate(self._sources):
            if _tells(source):
                told = partial(self._told, number)
                subscribe: Any = getattr(source, "subscribe")  # noqa: B009  (not every source has one)
                self._unsubscribe.append(subscribe(told))
                told()
                continue
            waits = True
            heard, failed = partial(self._heard, number), partial(self._failed, number)
            plan = watch(source, heard, failed, once=not _watched(source))
            self._threads.append(Background(plan, f"langchain-cluster-discovery-{number}"))
        if not waits:
            self.ready.open()

    def wait(self, until: float | None) -> bool:
        """Block until the first roster is in, or one that was kept will do (True), or it is `until`."""
        first = self._until_impatient(until)
        return self.ready.wait(self._clock, first) or self._or_else(first, until, self._wait_on)

    async def await_(self, until: float | None) -> bool:
        """The asyncio twin of `wait`."""
        first = self._until_impatient(until)
        if await self.ready.await_(self._clock, first):
            return True
        if self._or_else(first, until, lambda until: None):
            return True
        return first is not until and await self.ready.await_(self._clock, until)

    def _wait_on(self, until: float | None) -> bool:
        return self.ready.wait(self._clock, until)

    def _until_impatient(self, until: float | None) -> float | None:
        if self._patience is None:
            return until
        soon = self._clock.now() + self._patience
        return soon if until is None or soon < until else until

    def _or_else(
        self, first: float | None, until: float | None, wait: Callable[[float | None], bool | None]
    ) -> bool:
        """Nobody has answered for `patience` seconds: take what was kept, or wait on."""
        if first is until:
            return False
        for number in range(len(self._sources)):
            if self._rosters.restore(number):
                self.ready.open()
        return self.ready.is_open or bool(wait(until))

    # -- what sources say ---------------------------------------------------------------------------

    def _told(self, number: int) -> None:
        with self._rosters.lock:  # so that the later of two is the later to be read, too
            self._rosters.take(number, self._sources[number].fetch(None))

    def _heard(self, number: int, roster: Roster) -> float | None:
        again = self._rosters.take(number, roster)
        self._answered[number] = now = self._clock.now()
        seconds = self._away[number].ended(now)
        if seconds is not None:
            self._emit(DiscoveryRecovered(now, self._names[number], seconds))
        self.ready.open()
        return again

    def _failed(self, number: int, error: Exception) -> None:
        now, answered = self._clock.now(), self._answered[number]
        if self._away[number].began(now):
            # Of others only their kind: the text may have an address with a password in it.
            told = str(error)[:_LONGEST] if isinstance(error, DiscoveryError) else type(error).__name__
            stale = None if answered is None else now - answered
            self._emit(DiscoveryFailed(now, self._names[number], told, stale))
        if self._rosters.restore(number):
            self.ready.open()

    # -- its end ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Watch no more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.stop(0.0)  # first, or what ends because its source is closed would ask it again
        for source in self._sources:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        for thread in threads:
            thread.stop(GRACE)

    def forked(self) -> None:
        """In the child of a fork: the threads are the parent's, and so are those who wait."""
        self._threads = []
        self._rosters.forked()
        opened, self.ready = self.ready.is_open, Gate()
        if opened:
            self.ready.open()


def _tells(source: Discovery) -> bool:
    return callable(getattr(source, "subscribe", None))


def _watched(source: Discovery) -> bool:
    return getattr(source, "watched", True) is not False
