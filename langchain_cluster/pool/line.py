"""Who waits for a place when every endpoint is at a limit, and who is next.

Priorities first, tenants in turn within one, and each tenant's calls as they came. A place that is free
is not announced but given: whoever frees it leases it for the next in line, so nobody who comes later
finds it. Calls that may go to the same endpoints are of one kind, and when one of them cannot be served
none behind it can: a call for a busy tier holds up its own kind, and nobody else.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Hashable, Iterator
from itertools import islice
from math import inf
from threading import Lock
from types import TracebackType
from typing import Any, Protocol, Self

from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.model.call import Request
from langchain_cluster.pool.members import Lease

PRIORITIES = ("critical", "normal", "sheddable")
Kind = Hashable


class Leases(Protocol):
    """What a line needs of a pool."""

    def acquire(
        self, request: Request, *, exclude: Collection[str] = (), probe: bool = True, now: float
    ) -> Lease:
        """A claim on an endpoint. Raises NoEndpointAvailable."""

    def full(self, request: Request, *, exclude: Collection[str] = ()) -> bool:
        """Whether it is only for their limits that nobody can be asked."""

    def room(self, request: Request, *, exclude: Collection[str] = (), now: float) -> tuple[float, bool]:
        """When time alone may make a place, infinity if it will not; whether a call that ends may."""


class Full(Exception):
    """There is no room in the line for this call."""


class Place:
    """One call's place in line. Leaving it, however that happens, gives back what it was given.

    Attributes:
        lease: what was leased for it, None while it waits.
        nobody: why it waits in vain: it is not limits that keep it from being served.
        shed: it had to leave for a call that matters more.
        until: when time alone may serve it; only the first of its kind has to look then.
    """

    __slots__ = (
        "_gone", "_line", "deadline", "exclude", "joined", "kind", "lease", "nobody", "priority", "probe",
        "request", "shed", "tell", "until",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        request: Request,
        exclude: tuple[str, ...],
        *,
        probe: bool,
        deadline: float | None,
        now: float,
    ) -> None:
        self._line, self.request, self.exclude, self.probe = line, request, exclude, probe
        self.deadline, self.joined = deadline, now
        self.kind = kind_of(request, exclude)
        self.priority = request.priority if request.priority in PRIORITIES else "normal"
        self.lease: Lease | None = None
        self.nobody: NoEndpointAvailable | None = None
        self.shed = self._gone = False
        self.until = inf
        self.tell: Callable[[], None] | None = None

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.lease is not None or self.nobody is not None or self.shed

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once when it is served, shed, or is to look at its `until` again."""
        if not self._line.listens(self, tell):
            tell()

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited looks for himself."""
        self.tell = None

    def take(self) -> Lease:
        """What was leased for it; from now on it is the caller's to settle."""
        lease, self.lease = self.lease, None
        assert lease is not None
        return lease

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = self._line.leave(self)
        if lease is not None:
            lease.cancel()


def kind_of(request: Request, exclude: tuple[str, ...]) -> Kind:
    """What decides which endpoints may serve a request, and nothing else of it."""
    return (
        request.role, request.tier, request.tags, request.model, request.needs, request.tokens,
        request.reserve, frozenset(exclude),
    )  # fmt: skip


class Tenants:
    """The calls of one priority: tenants in turn, and each one's calls as they came."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls: OrderedDict[str | None, deque[Place]] = OrderedDict()

    def add(self, place: Place) -> None:
        """At the end of its tenant's calls; a new tenant comes after all others."""
        self.calls.setdefault(place.request.tenant, deque()).append(place)

    def remove(self, place: Place, *, served: bool) -> None:
        """Take it out; a tenant that was served comes after all others."""
        tenant = place.request.tenant
        calls = self.calls[tenant]
        calls.remove(place)
        if not calls:
            del self.calls[tenant]
        elif served:
            self.calls.move_to_end(tenant)

    def __iter__(self) -> Iterator[Place]:
        """In the order they will be served."""
        for calls in self.calls.values():
            yield calls[0]
        others = [islice(calls, 1, None) for calls in self.calls.values()]
        while others:
            left = []
            for calls_of_one in others:
                if (place := next(calls_of_one, None)) is not None:
                    yield place
                    left.append(calls_of_one)
            others = left

    def most(self) -> tuple[str | None, int]:
        """The tenant with the most calls, the last of several, and how many they are."""
        tenant = max(reversed(self.calls), key=lambda name: len(self.calls[name]))
        return tenant, len(self.calls[tenant])


class Line:
    """Those who wait. Everything is changed under its lock, but leased and told outside it.

    Args:
        pool: leases.
        size: calls that wait at most; None without bound.

    Attributes:
        waiting: how many wait; a plain slot, for those who only want to pass.
        joined, shed: calls that have waited so far, and those that were refused or had to leave.
    """

    __slots__ = (
        "_again", "_kinds", "_lock", "_now", "_pool", "_queues", "_serving", "joined", "shed", "size",
        "waiting",
    )  # fmt: skip

    def __init__(self, pool: Leases, size: int | None = None) -> None:
        self._pool, self.size = pool, size
        self._lock = Lock()
        self._queues = {priority: Tenants() for priority in PRIORITIES}
        self._kinds: Counter[Kind] = Counter()
        self._serving = self._again = False
        self._now = -inf
        self.waiting = self.joined = self.shed = 0

    def join(
        self,
        request: Request,
        exclude: tuple[str, ...] = (),
        *,
        probe: bool = True,
        deadline: float | None = None,
        now: float,
    ) -> Place:
        """A place at the end of its tenant's calls.

        Where there is no room, it takes that of the newest call of the lowest priority that is lower; or
        of the tenant that has the most waiting of its own priority, if its own tenant has fewer.

        Raises:
            Full: nobody has to make room for it.
        """
        place = Place(self, request, exclude, probe=probe, deadline=deadline, now=now)
        victim: Place | None = None
        with self._lock:
            if self.size is not None and self.waiting >= self.size:
                victim = self._whom_to_shed(place)
                self.shed += 1
                if victim is None:
                    raise Full
                self._remove(victim, served=False)
                victim.shed = True
            self._queues[place.priority].add(place)
            self._kinds[place.kind] += 1
            self.waiting += 1
            self.joined += 1
        if victim is not None:
            self._wake(victim)
        return place

    def _whom_to_shed(self, newcomer: Place) -> Place | None:
        for priority in reversed(PRIORITIES):
            tenants = self._queues[priority]
            if not tenants.calls:
                if priority == newcomer.priority:
                    return None
                continue
            tenant, count = tenants.most()
            if priority == newcomer.priority:
                own = len(tenants.calls.get(newcomer.request.tenant, ()))
                return tenants.calls[tenant][-1] if own + 1 < count else None
            return tenants.calls[tenant][-1]
        return None

    def _remove(self, place: Place, *, served: bool) -> None:
        place._gone = True
        self._queues[place.priority].remove(place, served=served)
        self._kinds[place.kind] -= 1
        if not self._kinds[place.kind]:
            del self._kinds[place.kind]
        self.waiting -= 1

    def holds_up(self, request: Request, exclude: tuple[str, ...]) -> bool:
        """Whether a call like this one would overtake others if it went by."""
        return kind_of(request, exclude) in self._kinds

    def leave(self, place: Place) -> Lease | None:
        """Whoever waited has gone: his place is free at once. What was leased for him and not taken."""
        with self._lock:
            if not place._gone:
                self._remove(place, served=False)
            lease, place.lease = place.lease, None
            return lease

    def listens(self, place: Place, tell: Callable[[], None]) -> bool:
        """Tell it when there is something to be told; False when there is already."""
        with self._lock:
            if place.settled:
                return False
            place.tell = tell
            return True

    def _wake(self, place: Place) -> None:
        with self._lock:
            tell, place.tell = place.tell, None
        if tell is not None:
            tell()

    def serve(self, now: float) -> None:
        """Lease for those who are next, until nobody can be served. Never blocks; never under a lock.

        One thread serves at a time: who comes meanwhile leaves it to that one.
        """
        with self._lock:
            self._again = True
            self._now = max(self._now, now)
            if self._serving:
                return
            self._serving = True
        try:
            while True:
                with self._lock:
                    if not self._again:
                        self._serving = False
                        return
                    self._again, now = False, self._now
                self._round(now)
        except BaseException:
            self._serving = False
            raise

    def _round(self, now: float) -> None:
        stuck: set[Kind] = set()
        while (place := self._next(stuck, now)) is not None:
            lease: Lease | None = None
            nobody: NoEndpointAvailable | None = None
            try:
                lease = self._pool.acquire(place.request, exclude=place.exclude, probe=place.probe, now=now)
            except NoEndpointAvailable as error:
                nobody = error
            if nobody is not None and self._pool.full(place.request, exclude=place.exclude):
                stuck.add(place.kind)
                until, _ = self._pool.room(place.request, exclude=place.exclude, now=now)
                if until < inf and until != place.until:
                    place.until = until
                    self._wake(place)  # the first of its kind: it is to look then
                continue
            with self._lock:
                left = place._gone
                if not left:
                    place.lease, place.nobody = lease, nobody
                    self._remove(place, served=lease is not None)
            if not left:
                self._wake(place)
            elif lease is not None:
                lease.cancel()

    def _next(self, stuck: set[Kind], now: float) -> Place | None:
        with self._lock:
            if len(stuck) >= len(self._kinds):
                return None
            for tenants in self._queues.values():
                for place in tenants:
                    late = place.deadline is not None and now >= place.deadline
                    if place.kind not in stuck and not late:
                        return place
            return None

    def counts(self) -> dict[str, Any]:
        """How many wait now, and may; how many have waited, and were shed."""
        return {"waiting": self.waiting, "size": self.size, "waited": self.joined, "shed": self.shed}

    def __len__(self) -> int:
        return self.waiting

    def __repr__(self) -> str:
        return f"<Line of {self.waiting}>"
