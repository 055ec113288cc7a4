"""Follow discovery sources: one is read once, or watched on a thread of its own; their rosters are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from threading import Event, Lock

from langchain_cluster.drive.background import Background
from langchain_cluster.model.endpoint import Endpoint, Load, Rejected, Roster
from langchain_cluster.plan.watch import watch
from langchain_cluster.ports import Discovery

GRACE = 2.0  # seconds a thread is waited for at the end; its source may be in a long poll


class Followers:
    """Keeps a pool equal to what its sources say, and closes those that have a `close`.

    Args:
        fixed: endpoints that are always there; they win over a source's with the same id.
        sources: in the order of precedence.
        apply: given the whole merged roster whenever it changes.
        seed: of the pauses after failures.
        reject: told of each entry a source could not use, once while it says the same.
        report: told what endpoints have told their source, after they are applied.
        trouble: told of the error when a source fails that did not, and of None when it is read again.
    """

    def __init__(
        self,
        fixed: Iterable[Endpoint],
        sources: Sequence[Discovery],
        apply: Callable[[Iterable[Endpoint]], object],
        seed: int | None,
        reject: Callable[[Rejected], object] = lambda rejected: None,
        report: Callable[[str, Load], object] = lambda id, load: None,
        trouble: Callable[[int, Exception | None], object] = lambda number, error: None,
    ) -> None:
        self._fixed, self._sources, self._apply = tuple(fixed), sources, apply
        self._reject, self._report, self._trouble = reject, report, trouble
        self._failing: set[int] = set()
        self._rng = Random(seed)
        self._rosters: dict[int, Roster] = {}
        self._lock = Lock()
        self._threads: list[Background] = []
        self.ready = Event()

    def start(self) -> None:
        """Read what does not change, begin to watch what does."""
        for number, source in enumerate(self._sources):
            if getattr(source, "watched", True) is False:
                self._take(number, source.fetch(None))
            else:
                failed, worked = partial(self._failed, number), partial(self._worked, number)
                plan = watch(source, self._taker(number), failed, self._rng, worked=worked)
                self._threads.append(Background(plan, f"langchain-cluster-discovery-{number}"))
        if not self._threads:
            self.ready.set()

    def _failed(self, number: int, error: Exception) -> None:
        if number not in self._failing:
            self._failing.add(number)
            self._trouble(number, error)

    def _worked(self, number: int) -> None:
        if number in self._failing:
            self._failing.discard(number)
            self._trouble(number, None)

    def _taker(self, number: int) -> Callable[[Roster], None]:
        return lambda roster: self._take(number, roster)

    def _take(self, number: int, roster: Roster) -> None:
        with self._lock:
            before = self._rosters.get(number, Roster(()))
            self._rosters[number] = roster
            merged: dict[str, Endpoint] = {}
            known = (self._rosters[n].endpoints for n in sorted(self._rosters))
            for endpoints in (self._fixed, *known):
                for endpoint in endpoints:
                    merged.setdefault(endpoint.id, endpoint)
            self._apply(merged.values())
        self.ready.set()
        for rejected in roster.rejected:
            if rejected not in before.rejected:
                self._reject(rejected)
        for id, load in roster.loads.items():
            if id in merged and before.loads.get(id) != load:
                self._report(id, load)

    def stop(self) -> None:
        """Watch no more."""
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.stop(0.0)  # first, or what ends because its source is closed would ask it again
        for source in self._sources:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        for thread in threads:
            thread.stop(GRACE)
