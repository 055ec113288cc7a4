"""When a cluster begins to watch what changes, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from langchain_cluster.drive.audits import Audits
from langchain_cluster.drive.background import Background
from langchain_cluster.drive.blocking import BlockingDriver
from langchain_cluster.drive.follow import GRACE, Followers
from langchain_cluster.drive.fork import on_fork
from langchain_cluster.drive.renewals import Renewals
from langchain_cluster.drive.shared_answers import SharedAnswers
from langchain_cluster.drive.tally import Tally
from langchain_cluster.drive.tasks import TaskDriver
from langchain_cluster.drive.workers import Workers
from langchain_cluster.endpoints.roles import Callers
from langchain_cluster.guard.flights import Flights
from langchain_cluster.model.events import EndpointLeft
from langchain_cluster.model.events import Event as ClusterEvent
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import (
    AlikeStore,
    Clock,
    Discovery,
    LimitStore,
)
from langchain_cluster.sharing.exchange import Exchange
from langchain_cluster.telemetry.fanout import EventFanout
from langchain_cluster.telemetry.wiring import Telemetry

if TYPE_CHECKING:
    from langchain_cluster.config.factory import EndpointFactory
    from langchain_cluster.health.periodic import Periodic
    from langchain_cluster.telemetry.alerts import Watch


class Life:
    """What begins and ends. The arguments of a cluster, and what it makes of them, are told in `Cluster`."""

    drain_timeout: float
    limits: LimitStore | None
    semantic_cache: AlikeStore | None
    _rng: Random
    _claims: Any
    tasks: TaskDriver
    blocking: BlockingDriver
    _audits: Audits | None
    _renewals: Renewals
    _flights: Flights
    _exchange: Exchange | None
    _followers: Followers
    _tally: Tally
    running: bool
    events: EventFanout
    clock: Clock
    pool: Pool
    health: Periodic | None
    telemetry: Telemetry
    alerts: Watch | None
    caller: Callers
    cache: Any
    _sources: list[Discovery]
    _factory: EndpointFactory | None
    _workers: Workers
    _answers: SharedAnswers
    _lock: RLock
    _starting: bool
    _seed: int | None
    _checking: Background | None
    _watching: Background | None
    _unsubscribe: Callable[[], None]

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return self._tally.in_flight

    @property
    def closed(self) -> bool:
        """Whether it takes no more calls."""
        return self._tally.closed

    def start(self) -> Self:
        """Read what does not change and begin to watch what does; once. After `close` it opens again."""
        with self._lock:
            if self.running or self._starting:
                return self
            self._starting = True
            try:
                self._tally.open()
                self._renewals.open()
                self.telemetry.begin()
                beside = (self.health, self.alerts, self._exchange)
                if self._sources or any(part is not None for part in beside):
                    on_fork(self)
                if self._exchange is not None:
                    self._exchange.start()
                self._followers.start()
                self._answers.begin()
                if self.health is not None:
                    plan = self.health.plan(self.pool, self.clock.now, Random(self._seed))
                    self._checking = Background(plan, "langchain-cluster-health")
                if self.alerts is not None:
                    self._unsubscribe()  # in the child of a fork it is there already
                    if self.alerts.listens:
                        self._unsubscribe = self.events.subscribe(self.alerts.listen)
                    self._watching = Background(self.alerts.plan(), "langchain-cluster-alerts")
                self.running = True
            finally:
                self._starting = False
        return self

    def forked(self) -> None:
        """In the child of a fork, where our threads are not: the next call starts anew."""
        self._lock = RLock()
        self._starting = self.running = False
        self._checking = None
        self._followers.forked()
        if self._exchange is not None:
            self._exchange.forked()
        if self.alerts is not None:
            self.alerts.forked()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until the first roster is in, at most `timeout` seconds; whether it is."""
        self.start()
        return self._followers.wait(None if timeout is None else self.clock.now() + timeout)

    async def await_ready(self, timeout: float | None = None) -> bool:
        """The asyncio twin of `wait_ready`."""
        await self.astart()
        return await self._followers.await_(None if timeout is None else self.clock.now() + timeout)

    def close(self, drain_timeout: float | None = None) -> bool:
        """No new calls; those in flight may finish. Then threads and connections of ours are gone.

        Returns:
            Whether every call had ended within `drain_timeout` seconds (the cluster's own if None).
        """
        with self._lock:
            self._followers.stop()
            if self._exchange is not None:
                self._exchange.stop()
            if self.health is not None and self._checking is not None:
                self._checking.stop(GRACE)
                self.health.close()
            drained = self._tally.drain(self.drain_timeout if drain_timeout is None else drain_timeout)
            self._renewals.close(GRACE)
            self._workers.close()
            if self.alerts is not None and self._watching is not None:
                self._watching.stop(GRACE)
                self._unsubscribe()
                self.alerts.close(GRACE)
            if self._factory is not None:
                self._factory.close()
            if self.limits is not None:
                self.limits.close()
            if self.cache is not None:
                self.cache.close()
            if self.semantic_cache is not None:
                self._answers.end()
                self.semantic_cache.close()
            self.events.close()
            if self.running:
                self.telemetry.finish()
            self.running = False
        return drained

    async def astart(self) -> Self:
        """The asyncio twin of `start`."""
        return await asyncio.to_thread(self.start) if self._sources else self.start()

    async def aclose(self, drain_timeout: float | None = None) -> bool:
        """The asyncio twin of `close`: this loop's calls go on while it waits."""
        return await asyncio.to_thread(self.close, drain_timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def discovers(self) -> bool:
        """Whether endpoints may come from a discovery."""
        return bool(self._sources)

    def _emit(self, event: ClusterEvent) -> None:
        if type(event) is EndpointLeft:
            self.caller.forget(event.endpoint.id)
            if self._factory is not None:
                self._factory.release(event.endpoint)
        if self._exchange is not None:
            self._exchange.told(event)
        self.events.emit(event)
