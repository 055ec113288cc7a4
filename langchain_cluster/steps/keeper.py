"""Where a cached step's results lie and under which key; the plans of `plan/step.py`, in either colour."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig, ensure_config

from langchain_cluster.cluster import Cluster
from langchain_cluster.drive.blocking import BlockingDriver
from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.drive.deadline import bounded
from langchain_cluster.drive.tasks import TaskDriver
from langchain_cluster.endpoints.blocks import Uncacheable
from langchain_cluster.endpoints.canonical import canonical, digest
from langchain_cluster.endpoints.identity import Identity, configured, name_of, settings_in
from langchain_cluster.endpoints.settings import settings_of
from langchain_cluster.endpoints.values import ValueCodec
from langchain_cluster.errors import ConfigError
from langchain_cluster.faces import a_store
from langchain_cluster.guard.flights import Flights
from langchain_cluster.guard.outage import Outage
from langchain_cluster.model.cache_key import scope
from langchain_cluster.model.events import NotCached
from langchain_cluster.model.policy import Policy
from langchain_cluster.model.strict import seconds_of
from langchain_cluster.plan.step import Kept, Seat, Step, keep, seek
from langchain_cluster.ports import Caller, Clock
from langchain_cluster.telemetry.fanout import EventFanout

_ALONE = Policy(timeout=None)  # where there is no cluster to have one
_ODD = re.compile(r"[^\w.-]+", re.ASCII)
_LONGEST_NAME = 40  # characters of a step's name in its keys
_NOBODY = cast(Caller, None)  # the drivers are asked for the store alone


class Keeper:
    """One cached step. See `langchain_cluster.cached` for the arguments."""

    def __init__(
        self,
        runnable: Any,
        *,
        ttl: float | str | None,
        key: Callable[[Any], Any] | None,
        cache: Any,
        name: Any,
        clock: Clock | None,
    ) -> None:
        if key is not None and not callable(key):
            raise ConfigError(f"{key!r} is no function from an input to a key", key="cached.key")
        if name is not None and (not isinstance(name, str) or not name):
            raise ConfigError(f"{name!r} is not a name", key="cached.name")
        self.ttl = None if ttl is None else seconds_of(ttl, "cached.ttl")
        self._key, self._given_name = key, name
        cluster = getattr(cache, "cluster", cache)  # of a face, or itself
        self._cluster: Cluster | None = cluster if isinstance(cluster, Cluster) else None
        if self._cluster is not None:
            self.store: Any = self._cluster.cache
            if self.store is None:
                raise ConfigError("this cluster has none: give it one, or a store here", key="cached.cache")
            self.clock, self.events = self._cluster.clock, self._cluster.events
            self._wall = self._cluster.wall
            self._blocking, self._tasks = self._cluster.blocking, self._cluster.tasks
        else:
            self.store = a_store(True if cache is None else cache)
            if self.store is None:
                raise ConfigError(f"{cache!r} is no store", key="cached.cache")
            from langchain_cluster.telemetry.logs import EventLog  # a cluster has its own, where it is wanted

            self.clock, self.events, self._wall = clock or SystemClock(), EventFanout(), time.time
            self.events.subscribe(EventLog())
            self._blocking = BlockingDriver(self.clock, _NOBODY, self.store)
            self._tasks = TaskDriver(self.clock, _NOBODY, self.store)
        self._flights, self._codec, self._outage = Flights(), ValueCodec(), Outage()
        self.identify(runnable)

    def identify(self, runnable: Any) -> None:
        """The step is this Runnable."""
        self.name = self._given_name or name_of(runnable)
        self._identity = Identity(runnable) if self._given_name is None else None
        self._declared = configured(runnable) if hasattr(runnable, "config_specs") else frozenset()
        self._slug = _ODD.sub("_", self.name)[:_LONGEST_NAME]

    # -- one call -----------------------------------------------------------------------------------

    def step(
        self, input: Any, config: RunnableConfig | None, given: Mapping[str, Any], *, streaming: bool = False
    ) -> Step | None:
        """What the plans of one call need; None when it is to leave the cache alone.

        Raises:
            ConfigError: an unknown key under `configurable.cluster`, or a key function's odd result.
            DeadlineExceeded: the time of whoever asks is over.
        """
        config = ensure_config(config)
        settings = settings_of(config)
        base = _ALONE if self._cluster is None else self._cluster.policy_for(settings.agent)
        policy = bounded(settings.over(base))
        if policy.cache is False:
            return None
        try:
            key = self._key_of(input, config, given, settings.tenant)
        except Uncacheable:
            self.events.emit(NotCached(self.clock.now(), self.name, "its input has no form to tell it by"))
            return None
        if key is None:
            return None
        return Step(
            self.name,
            key,
            self.ttl,
            None if policy.timeout is None else self.clock.now() + policy.timeout,
            policy.cache == "refresh",
            streaming,
            self._flights,
            self._codec,
            self._outage,
            self.clock.now,
            self.events.emit,
            policy.cache_tags,
            self._wall,
        )

    def _key_of(
        self, input: Any, config: RunnableConfig, given: Mapping[str, Any], tenant: str | None
    ) -> str | None:
        asked: Any
        if self._key is not None:
            asked = self._key(input)
            if asked is None:
                return None
            try:
                canonical(asked)
            except Uncacheable:
                kind = type(asked).__name__
                raise ConfigError(
                    f"a {kind} tells nothing apart: give a text, a number or the like", key="cached.key"
                ) from None
        else:
            asked = [input, dict(given), settings_in(config.get("configurable") or {}, self._declared)]
        identity = self._given_name or cast(Identity, self._identity).now()
        return f"lc:{{{scope(tenant)}}}:step:{self._slug}:{digest([tenant, identity, asked])}"

    def seek(self, step: Step) -> Kept | Seat:
        """What is kept, or a seat to work it out in."""
        return self._blocking.run(seek(step))

    async def aseek(self, step: Step) -> Kept | Seat:
        """The asyncio twin of `seek`."""
        return await self._tasks.run(seek(step))

    def seated(self, step: Step, seat: Seat) -> Seated:
        """A block in which the step is worked out; however it is left, nobody waits for it any more."""
        return Seated(self, step, seat)

    # -- taking back --------------------------------------------------------------------------------

    def forget(self, input: Any, config: RunnableConfig | None, given: Mapping[str, Any]) -> bool:
        """Remove what is kept for an input; whether there was something."""
        step = self.step(input, config, given)
        return step is not None and bool(self.store.delete(step.key))

    async def aforget(self, input: Any, config: RunnableConfig | None, given: Mapping[str, Any]) -> bool:
        """The asyncio twin of `forget`."""
        step = self.step(input, config, given)
        return step is not None and bool(await self.store.adelete(step.key))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # copies of a step share what is kept

    def __repr__(self) -> str:
        return f"<Keeper of {self.name}, {self.store!r}>"


class Seated:
    """The block of `Keeper.seated`."""

    __slots__ = ("_done", "_keeper", "_raw", "_seat", "_step")

    def __init__(self, keeper: Keeper, step: Step, seat: Seat) -> None:
        self._keeper, self._step, self._seat = keeper, step, seat
        self._raw: bytes | None = None
        self._done = False

    def keep(self, value: Any) -> None:
        """The step's value. Never raises."""
        self._done = True
        self._raw = self._keeper._blocking.run(keep(self._step, value))

    async def akeep(self, value: Any) -> None:
        """The asyncio twin of `keep`."""
        self._done = True
        self._raw = await self._keeper._tasks.run(keep(self._step, value))

    def not_kept(self, reason: str) -> None:
        """The step has no value to be kept."""
        self._done = True
        self._step.not_kept(reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flight = self._seat.flight
        if flight is not None:
            left = not self._done and (error is None or not isinstance(error, Exception))
            self._step.land(flight, self._raw, left=left)
