"""The running thing: endpoints, cache, events and drivers put together. A `ClusteredLLM` is a face of it.

Nothing begins at import or construction: the first call does, or `start`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from threading import RLock
from typing import TYPE_CHECKING, Any, Self

from langchain_cluster.cache.caches import Caches
from langchain_cluster.cluster.calls import Calls
from langchain_cluster.cluster.given import a_balancer, a_keeper, a_list, a_policy, a_watch, an_alike_store
from langchain_cluster.drive import shelf
from langchain_cluster.drive.audits import Audits
from langchain_cluster.drive.background import Background
from langchain_cluster.drive.blocking import BlockingDriver
from langchain_cluster.drive.clock import SystemClock, time_of_day
from langchain_cluster.drive.follow import Followers
from langchain_cluster.drive.recall import Recalls
from langchain_cluster.drive.renewals import Renewals
from langchain_cluster.drive.shared_answers import SharedAnswers
from langchain_cluster.drive.tally import Tally
from langchain_cluster.drive.tasks import TaskDriver
from langchain_cluster.drive.workers import Workers
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
from langchain_cluster.model.endpoint import Endpoint, Role
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
    from langchain_cluster.health.periodic import Periodic
    from langchain_cluster.telemetry.alerts import Alerts, Watch


class Cluster(Calls):
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
        self._fixed = a_list(endpoints, "endpoints")
        self._sources = [] if discovery is None else a_list(discovery, "discovery")
        if not self._fixed and not self._sources:
            raise ConfigError(
                "the pool is empty: give at least one Endpoint, or a discovery", key="endpoints"
            )
        for source in self._sources:
            if not isinstance(source, Discovery):
                kind = type(source).__name__
                raise ConfigError(f"{kind} is no Discovery: it has no fetch and afetch", key="discovery")
        self.policy = a_policy(policy, "policy")
        self.agents = {
            name: a_policy(own, f"agents.{name}", base=self.policy) for name, own in (agents or {}).items()
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
            balancer=a_balancer(balancer),
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
        self.semantic_cache = an_alike_store(semantic_cache)
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
            keeper=a_keeper(stability),
        )
        self._model_name: tuple[Any, str] = (None, "")
        self._checking: Background | None = None
        self.alerts: Watch | None = None if alerts is None else a_watch(alerts, self)
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

    @property
    def model_name(self) -> str:
        """The endpoints' model name, or their names when they differ."""
        snapshot = self.pool.snapshot
        known, name = self._model_name
        if known is not snapshot.members:
            name = common_model_name(snapshot)
            self._model_name = (snapshot.members, name)
        return name

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
