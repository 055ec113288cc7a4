"""A second attempt when the first is slow; the first good answer wins, and the other is called off.

Why not two attempts at once, always? It doubles the load to cut a tail. Waiting until the first is
slower than nearly all others costs a few percent, and the budget keeps it at that when all are slow:
then a second attempt would only make it worse. (Dean and Barroso, The Tail at Scale.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.guard.quantile import Recent
from langchain_cluster.model.call import Answer, Outcome, Request, Verdict
from langchain_cluster.model.events import HedgeBegun
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Begin, Plan, Wait
from langchain_cluster.plan.recover import deliver
from langchain_cluster.plan.reserve import reserve
from langchain_cluster.plan.tries import Tries
from langchain_cluster.pool.members import Lease
from langchain_cluster.ports import Begun


def ask_hedged(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
    """As `ask`, with a second attempt when one is slow."""
    tries = Tries(request, cx, started, source)
    while True:
        with Race(tries, streaming=False) as race:
            outcome, lease = yield from race.run()
            lease.settle(tries.blame(outcome), now=cx.now())
        if outcome.verdict is Verdict.OK:
            race.learn(outcome.seconds)
            return tries.answer(outcome, lease)
        yield from tries.go_on(outcome, lease)


def ask_stream_hedged(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
    """As `ask_stream`, with a second attempt when a first token is slow."""
    tries = Tries(request, cx, started, source)
    while True:
        with Race(tries, streaming=True) as race:
            outcome, lease = yield from race.run()
            with lease:  # the race no longer holds it, and whoever reads the stream may leave
                if outcome.verdict is Verdict.OK:
                    ended = yield from deliver(tries, outcome.value, lease)
                    if isinstance(ended, Answer):
                        race.learn(ended.first_token_seconds)
                        return ended
                    outcome = ended
                else:
                    lease.settle(tries.blame(outcome), now=cx.now())
        yield from tries.go_on(outcome, lease)


@dataclass(slots=True)
class Runner:
    """An attempt of a race, and the claim it is made on."""

    lease: Lease
    begun: Begun


@dataclass(slots=True)
class Race:
    """One try, and a second one when it is slow. Leaving it calls off and settles whatever still runs."""

    tries: Tries
    streaming: bool
    runners: list[Runner] = field(default_factory=list)

    def run(self) -> Plan[tuple[Outcome, Lease]]:
        """The first good outcome, or the last bad one; its lease is still to be settled."""
        yield from self.begin((yield from self.tries.lease()), 0)
        slow_at = self.slow_at()
        if slow_at is not None:
            yield from Wait(self.runners[0].begun, slow_at)
            if self.runners[0].begun.outcome is None:
                second = yield from self.second()
                if second is not None:
                    yield from self.begin(second, 1)
        while True:
            if all(runner.begun.outcome is None for runner in self.runners):
                yield from Wait(AnyOf([runner.begun for runner in self.runners]), None)
            for runner in list(self.runners):
                outcome = runner.begun.outcome
                if outcome is None:
                    continue
                self.runners.remove(runner)
                # Who asked a question that fails everywhere need not wait for it to fail twice.
                if outcome.verdict in (Verdict.OK, Verdict.CALLER) or not self.runners:
                    self.call_off()
                    return self.tries.heard(outcome, runner.lease), runner.lease
                runner.lease.settle(self.tries.blame(outcome), now=self.tries.cx.now())
                self.tries.report(outcome, runner.lease)
                self.tries.moved += outcome.recalled
                self.tries.tried.add(runner.lease.endpoint.id)

    def begin(self, lease: Lease, beside: int) -> Plan[None]:
        """Start an attempt, with `beside` others under way."""
        with _settled_unless_kept(lease) as held:
            attempt = self.tries.attempt(lease, beside=beside)
            begun = yield from Begin(attempt, self.streaming)
            held.keep()
        self.runners.append(Runner(lease, begun))

    def slow_at(self) -> float | None:
        """When a second attempt is due; None when none may be made."""
        cx, hedge = self.tries.cx, self.tries.cx.policy.hedge
        if hedge is None or self.tries.made + 2 > cx.policy.attempts:
            return None
        after = hedge.seconds
        if after is None and self.recent is not None:
            after = self.recent.quantile(hedge.quantile)
        return None if after is None else cx.now() + after

    def second(self) -> Plan[Lease | None]:
        """A claim for the second attempt, if the budgets bear it and somebody else is free now."""
        tries, cx = self.tries, self.tries.cx
        if cx.pool.line.waiting:
            return None  # a first attempt of somebody else's comes before it
        now = cx.now()
        exclude = (*tries.tried, *tries.unfit, self.runners[0].lease.endpoint.id)
        try:
            lease = cx.pool.acquire(tries.request, exclude=exclude, probe=False, now=now)
        except NoEndpointAvailable:
            return None
        if lease.reserved is not None and not (yield from reserve(cx, lease, tries.deadline)):
            return None
        if not tries.pays(lease):
            return None
        if self.runners[0].begun.outcome is not None:  # meanwhile
            lease.cancel()
            return None
        paid = (cx.hedges is None or cx.hedges.withdraw(now)) and (
            cx.budget is None or cx.budget.withdraw(now)
        )
        if not paid or lease.probe:
            lease.cancel(now=now)
            return None
        tries.hedged = True
        cx.emit(HedgeBegun(now, self.runners[0].lease.endpoint.id, lease.endpoint.id))
        return lease

    @property
    def recent(self) -> Recent | None:
        """How long what this race is about took lately."""
        lately = self.tries.cx.lately
        return None if lately is None else lately.first_token if self.streaming else lately.whole

    def learn(self, seconds: float | None) -> None:
        """Remember how long an answer, or a first token, took."""
        if self.recent is not None and seconds is not None:
            self.recent.add(seconds)

    def call_off(self) -> None:
        """End what still runs. It lost: it is not blamed, but known to be at least as slow as this."""
        runners, self.runners = self.runners, []
        now = self.tries.cx.now()
        for runner in runners:
            runner.begun.drop()
            outrun = Outcome.outrun(seconds=now - runner.lease.started)
            runner.lease.settle(outrun, now=now)
            self.tries.report(outrun, runner.lease)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runners, self.runners = self.runners, []
        for runner in runners:
            runner.begun.drop()
            if not runner.lease.settled:
                runner.lease.settle(Outcome.abandoned())


class AnyOf:
    """Happens when the first of several happens; tells once."""

    def __init__(self, parts: Sequence[Begun]) -> None:
        self._parts = parts
        self._once: dict[Callable[[], None], Callable[[], None]] = {}

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once, when the first has happened."""
        left = [tell]

        def once() -> None:
            try:
                told = left.pop()
            except IndexError:
                return  # another part was first
            told()

        self._once[tell] = once
        for part in self._parts:
            part.subscribe(once)

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited has left."""
        once = self._once.pop(tell, None)
        if once is not None:
            for part in self._parts:
                part.unsubscribe(once)


@dataclass(slots=True)
class _settled_unless_kept:
    """Gives a lease back if the attempt on it could not even begin."""

    lease: Lease
    kept: bool = False

    def keep(self) -> None:
        """Somebody else settles it."""
        self.kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.kept and not self.lease.settled:
            self.lease.settle(Outcome.abandoned())
