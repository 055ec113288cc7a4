"""Calls of a cluster, of either colour, whole and streamed: what their plans see, and how they count."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_cluster.cluster.life import Life
from langchain_cluster.drive.deadline import bounded
from langchain_cluster.endpoints.answer import said
from langchain_cluster.endpoints.fingerprint import CacheKeys
from langchain_cluster.endpoints.vectors import TextParts
from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.guard.crowd import Crowd
from langchain_cluster.guard.outage import Outage
from langchain_cluster.guard.quantile import Lately
from langchain_cluster.guard.spending import Spending
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.endpoint import Role
from langchain_cluster.model.policy import (
    Policy,
)
from langchain_cluster.plan.attempts import ask
from langchain_cluster.plan.call import complete, relay
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.renew import renew
from langchain_cluster.ports import (
    Codec,
    Tracing,
)

if TYPE_CHECKING:
    pass


class Calls(Life):
    """What answers."""

    policy: Policy
    agents: Mapping[str, Policy]
    wall: Callable[[], float]
    tracing: Tracing
    keys: CacheKeys | None
    spending: Spending | None
    _codecs: Mapping[Role, Codec]
    _texts: TextParts
    _outage: Outage  # of the cache
    _alone: Outage  # of what is shared with other processes
    _crowd: Crowd
    _lately: Lately
    _budgets: dict[float, RetryBudget]
    _hedges: dict[float, RetryBudget]

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
