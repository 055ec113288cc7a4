"""The running thing: endpoints, cache, events and drivers put together. A `ClusteredLLM` is a face of it.

Nothing begins at import or construction: the first call does, or `start`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from random import Random
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from langchain_cluster.cache.caches import Caches
from langchain_cluster.drive import shelf
from langchain_cluster.drive.audits import Audits
from langchain_cluster.drive.background import Background
from langchain_cluster.drive.blocking import BlockingDriver
from langchain_cluster.drive.clock import SystemClock, time_of_day
from langchain_cluster.drive.deadline import bounded
from langchain_cluster.drive.follow import GRACE, Followers
from langchain_cluster.drive.fork import on_fork
from langchain_cluster.drive.recall import Recalls
from langchain_cluster.drive.renewals import Renewals
from langchain_cluster.drive.shared_answers import SharedAnswers
from langchain_cluster.drive.tally import Tally
from langchain_cluster.drive.tasks import TaskDriver
from langchain_cluster.drive.workers import Workers
from langchain_cluster.endpoints.answer import said
from langchain_cluster.endpoints.codec import AnswerCodec
from langchain_cluster.endpoints.fingerprint import CacheKeys
from langchain_cluster.endpoints.meaning import words_of
from langchain_cluster.endpoints.profile import common_model_name
from langchain_cluster.endpoints.retrieval import DocumentsCodec
from langchain_cluster.endpoints.roles import Callers
from langchain_cluster.endpoints.vectors import TextParts, VectorCodec
from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.guard.crowd import Crowd
from langchain_cluster.guard.flights import Flights
from langchain_cluster.guard.outage import Outage
from langchain_cluster.guard.quantile import Lately
from langchain_cluster.guard.spending import Spending
from langchain_cluster.model.budget import Budget, a_budget_list
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.events import EndpointLeft
from langchain_cluster.model.events import Event as ClusterEvent
from langchain_cluster.model.health import HealthPolicy
from langchain_cluster.model.policy import (
    BreakerPolicy,
    ConcurrencyPolicy,
    OutlierPolicy,
    Policy,
    QueuePolicy,
    Quota,
    SlowStartPolicy,
    ThrottlePolicy,
)
from langchain_cluster.model.stability import StabilityPolicy
from langchain_cluster.plan.attempts import ask
from langchain_cluster.plan.call import complete, relay
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.renew import renew
from langchain_cluster.plugins import make_balancer
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import (
    AlertRule,
    AlikeStore,
    Balancer,
    CacheStore,
    Clock,
    Codec,
    Discovery,
    HealthCheck,
    LimitStore,
    Sharing,
    Tracing,
)
from langchain_cluster.sharing.exchange import Exchange
from langchain_cluster.telemetry.fanout import EventFanout
from langchain_cluster.telemetry.wiring import Telemetry, current

if TYPE_CHECKING:
    from langchain_cluster.config.factory import EndpointFactory
    from langchain_cluster.discovery.kept import KeptRosters
    from langchain_cluster.health.periodic import Periodic
    from langchain_cluster.telemetry.alerts import Alerts, Watch


class Cluster:
    """A pool of chat models and everything around a call to one of them.

    Args:
        endpoints: who can answer; may be empty when there is a discovery.
        balancer: a name or a `Balancer`.
        cache: where whole answers are kept, None for nowhere.
        semantic_cache: a `SemanticCache`: answers by what a question means; None for none.
        discovery: sources of rosters beside `endpoints`.
        policy: what a call may cost, unless its agent or the call itself says otherwise.
        agents: policy by agent name; a mapping is what differs from `policy`.
        breaker: each endpoint's circuit breaker; None for none.
        outlier: when an endpoint that does worse than its peers is taken out; None for never.
        slow_start: how an endpoint that joins later warms up; None for at once.
        concurrency: finds out how many calls at once each endpoint bears; None: `max_connections` alone.
        quotas: quota group -> what its endpoints may be asked together in a minute.
        throttle: when calls are refused here because most were refused there; None for never.
        queue: how many calls wait when every endpoint is at a limit; None for as many as come.
        budgets: what calls may cost: of the cluster, of each agent or tenant, in an hour, a day ...
        health: how endpoints are checked: a policy, a check, or the name of one; None for not at all.
        factory: makes the chat models of endpoints that are discovered without one.
        stability: how much of what a discovery says is believed at once; None for everything.
        alerts: what is watched and who is told: an `Alerts`, or its rules; None for nothing.
        log: whether state changes are logged, by the logger "langchain_cluster".
        sharing: where processes tell each other what they see of endpoints; None for nowhere.
        limits: where limits per minute are counted for all processes; None: each counts for itself.
        drain_timeout: seconds `close` waits for calls in flight.
        clock, seed: time and chance, for tests.
        tracing: opens spans; what `telemetry` brings by default.
        telemetry: spans, metrics and the audit trail; by default what `telemetry.setup` made last, else
            OpenTelemetry's global providers.

    Raises:
        ConfigError: no endpoint and no discovery, two endpoints with one id, a model that is none.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        *,
        balancer: str | Balancer = "peak_ewma",
        cache: CacheStore | None = None,
        semantic_cache: AlikeStore | None = None,
        discovery: Discovery | Sequence[Discovery] | None = None,
        policy: Policy | None = None,
        agents: Mapping[str, Policy | Mapping[str, Any]] | None = None,
        breaker: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008  (frozen)
        outlier: OutlierPolicy | None = None,
        slow_start: SlowStartPolicy | float | None = None,
        concurrency: ConcurrencyPolicy | None = None,
        quotas: Mapping[str, Quota] | None = None,
        throttle: ThrottlePolicy | None = None,
        queue: QueuePolicy | None = QueuePolicy(),  # noqa: B008  (frozen)
        budgets: Budget | Mapping[str, Any] | Iterable[Budget | Mapping[str, Any]] = (),
        health: HealthPolicy | HealthCheck | str | None = None,
        factory: EndpointFactory | None = None,
        stability: StabilityPolicy | None = StabilityPolicy(),  # noqa: B008  (frozen)
        alerts: Alerts | Sequence[AlertRule | str] | None = None,
        log: bool = False,
        sharing: Sharing | None = None,
        limits: LimitStore | None = None,
        drain_timeout: float = 10.0,
        clock: Clock | None = None,
        seed: int | None = None,
        tracing: Tracing | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._fixed = _a_list(endpoints, "endpoints")
        self._sources = [] if discovery is None else _a_list(discovery, "discovery")
        if not self._fixed and not self._sources:
            raise ConfigError(
                "the pool is empty: give at least one Endpoint, or a discovery", key="endpoints"
            )
        for source in self._sources:
            if not isinstance(source, Discovery):
                kind = type(source).__name__
                raise ConfigError(f"{kind} is no Discovery: it has no fetch and afetch", key="discovery")
        self.policy = _a_policy(policy, "policy")
        self.agents = {
            name: _a_policy(own, f"agents.{name}", base=self.policy) for name, own in (agents or {}).items()
        }
        self.health: Periodic | None = None
        if health is not None:
            # Here, not above: it brings httpx, and httpx its command line. Who checks nothing needs neither.
            from langchain_cluster.health.periodic import Periodic

            self.health = Periodic(health)
        self.drain_timeout = drain_timeout
        self.clock: Clock = clock or SystemClock()
        self.events = EventFanout()
        self._exchange: Exchange | None = None
        self._seed = seed
        self._rng, self._crowd = Random(seed), Crowd()
        self._factory = factory
        if factory is not None and not callable(getattr(factory, "attach", None)):
            raise ConfigError(f"{type(factory).__name__} is no EndpointFactory", key="factory")
        recalls = Recalls()
        self.pool = Pool(
            self._fixed,
            balancer=make_balancer(balancer) if isinstance(balancer, str) else balancer,
            breaker=breaker,
            outlier=outlier,
            slow_start=slow_start,
            concurrency=concurrency,
            quotas=quotas,
            throttle=throttle,
            queue=queue,
            clock=self.clock,
            seed=seed,
            emit=self._emit,
            recall=recalls.recall,
        )
        if sharing is not None:
            if not isinstance(sharing, Sharing):
                raise ConfigError(f"{type(sharing).__name__} is no Sharing: it has no join", key="sharing")
            self._exchange = Exchange(self.pool, sharing, self.clock.now, self._emit)
        if limits is not None and not isinstance(limits, LimitStore):
            raise ConfigError(f"{type(limits).__name__} is no LimitStore: it has no take", key="limits")
        self.limits = limits
        self._alone = Outage()
        self.wall = time_of_day(self.clock)
        money = a_budget_list(budgets, self._fixed, discovers=bool(self._sources))
        self.spending = Spending(money, self._emit) if money else None
        self.cache: Any = Caches.around(cache, semantic_cache)
        self.caller = Callers(self.clock.now)
        for endpoint in self._fixed:
            self.caller.check(endpoint)  # a model that is none is told now, not at the first call
        self._codecs: dict[Role, Codec] = {
            Role.LLM: AnswerCodec(),
            Role.EMBEDDING: VectorCodec(),
            Role.RETRIEVAL: DocumentsCodec(),
        }
        self._texts = TextParts(self.caller.embedding.lengths)
        self._flights = Flights()
        self._outage = Outage()
        self.models = CacheKeys(self.pool)
        self.semantic_cache = _an_alike_store(semantic_cache)
        self.keys = None if cache is None and semantic_cache is None else self.models
        self._workers = Workers()
        self.telemetry = telemetry or current()
        self.tracing: Tracing = tracing or self.telemetry.tracing
        self.blocking = BlockingDriver(
            self.clock, self.caller, cache, self.tracing, self._workers, recalls, self.semantic_cache
        )
        self.tasks = TaskDriver(self.clock, self.caller, cache, self.tracing, recalls, self.semantic_cache)
        self._claims = shelf.claims(cache)
        self._renewals = Renewals(self._renew, self._workers, self._emit, self.clock.now)
        self._audits: Audits | None = None
        if self.semantic_cache is not None:
            self._audits = Audits(
                self.semantic_cache, words_of, self._ask_again, self._workers, self._emit, self.clock.now
            )
        self._answers = SharedAnswers(self.semantic_cache, self._emit, self.clock.now)
        self._budgets: dict[float, RetryBudget] = {}
        self._hedges: dict[float, RetryBudget] = {}
        self._lately = Lately()
        self._followers = Followers(
            self._fixed,
            self._sources,
            self.pool,
            self.clock,
            self._emit,
            stability=stability,
            factory=factory,
            keeper=_a_keeper(stability),
        )
        self._model_name: tuple[Any, str] = (None, "")
        self._checking: Background | None = None
        self.alerts: Watch | None = None if alerts is None else _a_watch(alerts, self)
        self._watching: Background | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        if log:
            from langchain_cluster.telemetry.logs import attach  # who logs nothing needs none of it

            attach(self)
        self._tally = Tally()
        # Re-entrant: listeners are told of the first roster while it is read, and may call or close.
        self._lock = RLock()
        self._starting = False
        self.running = False
        self.telemetry.watch(self)

    # -- one call -----------------------------------------------------------------------------------

    def context(self, policy: Policy, role: Role = Role.LLM, began: float | None = None) -> Context:
        """What the plan of one call for `role` may see."""
        cached = self.keys is not None and policy.cache is not False
        return Context(
            self.pool,
            policy,
            self.clock.now,
            self._emit,
            self._budget(policy.retry_budget),
            self._flights if cached else None,
            self.keys if cached else None,
            self._codecs.get(role),
            self.events.heard,
            self._texts if role is Role.EMBEDDING else None,
            began,
            None if policy.hedge is None else self._hedge_budget(policy.hedge.max_extra),
            None if policy.hedge is None else self._lately,
            self._outage if cached else None,
            said if role is Role.LLM else None,
            alike=self._audits if cached and role is Role.LLM else None,
            limits=self.limits,
            alone=self._alone,
            spending=self.spending,
            wall=self.wall,
            claims=cached and self._claims and role is not Role.EMBEDDING,
            renewals=self._renewals if cached else None,
            rng=self._rng,
            crowd=self._crowd,
        )

    def _ask_again(self, request: Request) -> Answer:
        """An endpoint's answer beside the calls: no cache, no other try, and nobody is told of a call."""
        policy = self.policy_for(request.agent).but(cache=False, attempts=1, hedge=None)
        cx = self.context(policy, request.role)
        return self.blocking.run(ask(request, cx, self.clock.now(), "off"))

    def _renew(self, request: Request, policy: Policy) -> Answer | None:
        """An endpoint's answer beside the calls, for the cache."""
        # Whoever waits for an answer goes first.
        cx = self.context(policy.but(hedge=None), request.role)
        return self.blocking.run(renew(replace(request, priority="sheddable"), cx))

    def policy_for(self, agent: str | None) -> Policy:
        """The policy of an agent by name; the default where it has none of its own."""
        return self.policy if agent is None else self.agents.get(agent, self.policy)

    def _budget(self, ratio: float | None) -> RetryBudget | None:
        if ratio is None:
            return None
        budget = self._budgets.get(ratio)
        if budget is None:
            budget = self._budgets.setdefault(ratio, RetryBudget(ratio, self.clock.now()))
        return budget

    def _hedge_budget(self, ratio: float) -> RetryBudget:
        budget = self._hedges.get(ratio)
        if budget is None:
            budget = self._hedges.setdefault(ratio, RetryBudget(ratio, self.clock.now(), floor=1.0))
        return budget

    @property
    def retry_budgets(self) -> list[float]:
        """The part of each retry budget in use that is spent, 0-1."""
        now = self.clock.now()
        return [budget.used(now) for budget in list(self._budgets.values())]

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return self._tally.in_flight

    @property
    def closed(self) -> bool:
        """Whether it takes no more calls."""
        return self._tally.closed

    def _begin(self, policy: Policy) -> float | None:
        """A call begins; the first one waits until somebody is there to be asked.

        Returns:
            When it began, if it had to wait: that is a part of its time.
        """
        began = None
        if not self.running and not self.closed:
            began = self.clock.now()
            self.start()
        if not self._followers.ready.is_open and not len(self.pool):
            began = self.clock.now() if began is None else began
            self._followers.wait(None if policy.timeout is None else began + policy.timeout)
        self._tally.enter()
        return began

    async def _abegin(self, policy: Policy) -> float | None:
        """The asyncio twin of `_begin`."""
        began = None
        if not self.running and not self.closed:
            began = self.clock.now()
            await self.astart()
        if not self._followers.ready.is_open and not len(self.pool):
            began = self.clock.now() if began is None else began
            await self._followers.await_(None if policy.timeout is None else began + policy.timeout)
        self._tally.enter()
        return began

    def complete(self, request: Request, policy: Policy, began: float | None = None) -> Answer:
        """Ask and wait for the whole answer.

        Args:
            began: when the work began that this call is a part of, and whose time it shares.
        """
        policy = bounded(policy)
        waited = self._begin(policy)
        began = waited if began is None else began
        span = self.tracing.call(request, balancer=self.pool.balancer.name, streaming=False)
        ended: Answer | BaseException | None = None
        try:
            ended = self.blocking.run(complete(request, self.context(policy, request.role, began)), span)
            return ended
        except BaseException as error:
            ended = error
            raise
        finally:
            if span is not None:
                span.end(ended)
            self._tally.leave(ended)

    async def acomplete(self, request: Request, policy: Policy, began: float | None = None) -> Answer:
        """The asyncio twin of `complete`."""
        policy = bounded(policy)
        waited = await self._abegin(policy)
        began = waited if began is None else began
        span = self.tracing.call(request, balancer=self.pool.balancer.name, streaming=False)
        ended: Answer | BaseException | None = None
        try:
            ended = await self.tasks.run(complete(request, self.context(policy, request.role, began)), span)
            return ended
        except BaseException as error:
            ended = error
            raise
        finally:
            if span is not None:
                span.end(ended)
            self._tally.leave(ended)

    def relay(self, request: Request, policy: Policy) -> Generator[Any, None, None]:
        """Ask for a stream: its chunks, then an `Answer` as the last item."""
        policy = bounded(policy)
        began = self._begin(policy)
        span = self.tracing.call(request, balancer=self.pool.balancer.name, streaming=True)
        ended: Answer | BaseException | None = None
        try:
            plan = relay(request, self.context(policy, began=began))
            for item in self.blocking.stream(plan, span):
                if type(item) is Answer:
                    ended = item
                yield item
        except BaseException as error:
            ended = ended or error
            raise
        finally:
            if span is not None:
                span.end(ended)
            self._tally.leave(ended)

    async def arelay(self, request: Request, policy: Policy) -> AsyncGenerator[Any, None]:
        """The asyncio twin of `relay`."""
        policy = bounded(policy)
        began = await self._abegin(policy)
        span = self.tracing.call(request, balancer=self.pool.balancer.name, streaming=True)
        ended: Answer | BaseException | None = None
        try:
            plan = relay(request, self.context(policy, began=began))
            async with aclosing(self.tasks.stream(plan, span)) as items:
                async for item in items:
                    if type(item) is Answer:
                        ended = item
                    yield item
        except BaseException as error:
            ended = ended or error
            raise
        finally:
            if span is not None:
                span.end(ended)
            self._tally.leave(ended)

    # -- its life -----------------------------------------------------------------------------------

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

    @property
    def model_name(self) -> str:
        """The endpoints' model name, or their names when they differ."""
        snapshot = self.pool.snapshot
        known, name = self._model_name
        if known is not snapshot.members:
            name = common_model_name(snapshot)
            self._model_name = (snapshot.members, name)
        return name

    # -- what can be seen ---------------------------------------------------------------------------

    def _emit(self, event: ClusterEvent) -> None:
        if type(event) is EndpointLeft:
            self.caller.forget(event.endpoint.id)
            if self._factory is not None:
                self._factory.release(event.endpoint)
        if self._exchange is not None:
            self._exchange.told(event)
        self.events.emit(event)

    def stats(self) -> dict[str, Any]:
        """Counts since the start, what is in flight and waits, and a line per endpoint."""
        now = self.clock.now()
        return {
            **self._tally.counts(),
            "in_flight": self.in_flight,
            "queue": self.pool.line.counts(),
            "throttled": 0 if self.pool.throttle is None else self.pool.throttle.refused,
            "endpoints": {
                m.endpoint.id: {
                    "status": m.status.value,
                    "circuit": m.breaker_state.value,
                    "in_flight": m.in_flight,
                    "served": m.served,
                    "failed": m.failed,
                    "ewma_seconds": m.ewma_seconds,
                    "output_tokens": m.tokens,
                    "limits": m.limits(now),
                }
                for m in self.pool
            },
            "budgets": [] if self.spending is None else self.spending.report(self.wall()),
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # there is one running thing, however often its faces are copied

    def __repr__(self) -> str:
        state = "closed" if self.closed else "running" if self.running else "not started"
        return f"<Cluster {state}, {self.pool!r}, {self.in_flight} calls in flight>"


def _a_list(given: Any, key: str) -> list[Any]:
    if isinstance(given, Endpoint) or not isinstance(given, Iterable):
        if key == "endpoints":
            raise ConfigError(f"{type(given).__name__} is not a list of Endpoint", key=key)
        return [given]
    return list(given)


def _a_policy(given: Policy | Mapping[str, Any] | None, key: str, base: Policy | None = None) -> Policy:
    """The policy itself; a mapping is what differs from `base`."""
    base = base or Policy()
    if given is None:
        return base
    if isinstance(given, Policy):
        return given
    if isinstance(given, Mapping):
        return base.but(**given)
    raise ConfigError(f"{type(given).__name__} is not a Policy", key=key)


def _a_keeper(stability: StabilityPolicy | None) -> KeptRosters | None:
    if stability is None or stability.keep is None:
        return None
    from langchain_cluster.discovery.kept import KeptRosters  # who keeps nothing reads no file

    return KeptRosters(stability.keep)


def _a_watch(alerts: Any, cluster: Cluster) -> Watch:
    from langchain_cluster.telemetry.alerts import Alerts, Watch  # who watches nothing needs none of it

    if not isinstance(alerts, Alerts):
        if not isinstance(alerts, Sequence):
            kind = type(alerts).__name__
            raise ConfigError(f"{kind} is neither an Alerts nor a list of rules", key="alerts")
        alerts = Alerts(alerts)
    return Watch(alerts, cluster.pool, cluster.clock.now, cluster._emit)


def _an_alike_store(given: Any) -> AlikeStore | None:
    if given is None or all(callable(getattr(given, name, None)) for name in ("aseek", "akeep", "audited")):
        return given  # type: ignore[no-any-return]
    raise ConfigError(f"{type(given).__name__} is no SemanticCache", key="semantic_cache")
