"""What calls have cost, and whether the next one may cost something too.

Why hold an estimate first? A hundred calls that each look whether there is money left find that there is,
and spend it a hundred times. So what an attempt is expected to cost is set aside in one step with looking,
and settled with what it did cost. Every attempt counts: a retry, and the one of two that was slower, are
on the provider's bill too.

Budgets are by the calendar, so this is told the time of day. A clock that jumps ahead begins a new hour or
month; one that jumps back brings no money back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from threading import Lock
from typing import Any

from langchain_cluster.errors import BudgetExceeded
from langchain_cluster.guard.calendar import stretch
from langchain_cluster.guard.expected import Expected
from langchain_cluster.model.budget import Budget
from langchain_cluster.model.call import Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Endpoint, Price
from langchain_cluster.model.events import BudgetUsed, Event

ROUNDING = 1e-9  # USD: sums of fractions are not exact


class Account:
    """One budget of one agent, tenant or cluster in one stretch of time. Changed under its owner's lock.

    Attributes:
        who: the agent or tenant; None of a cluster.
        spent: USD. held: USD, of attempts under way. told: the highest part of it that was told.
    """

    __slots__ = ("begin", "budget", "end", "held", "holding", "spent", "told", "who")

    def __init__(self, budget: Budget, who: str | None, begin: float, end: float) -> None:
        self.budget, self.who, self.begin, self.end = budget, who, begin, end
        self.spent = self.held = self.told = 0.0
        self.holding = 0

    @property
    def left(self) -> float:
        """USD that may still be set aside; below 0 when calls cost more than was expected."""
        return self.budget.amount - self.spent - self.held

    @property
    def part(self) -> float:
        """What is spent of it, 0-1."""
        return min(1.0, self.spent / self.budget.amount) if self.budget.amount > 0 else 1.0

    @property
    def scope(self) -> str:
        """Whose it is, for people."""
        return self.budget.scope if self.who is None else f"{self.budget.scope} {self.who}"

    def take(self, cost: float) -> None:
        """Set `cost` aside."""
        self.held += cost
        self.holding += 1

    def settle(self, held: float, cost: float) -> None:
        """`held` had been set aside, and it did cost `cost`."""
        self.holding -= 1
        self.held = self.held - held if self.holding else 0.0  # no rest of sums of fractions
        self.spent += cost

    def news(self, *, refused: bool = False) -> float | None:
        """The highest part of it that is reached and was not told yet; None if there is none."""
        reached = 1.0 if refused or self.left + self.held <= ROUNDING else self.part
        parts = [part for part in (*self.budget.tell_at, 1.0) if self.told < part <= reached]
        if not parts or (self.budget.amount == 0 and not refused):
            return None
        self.told = parts[-1]
        return self.told


class Held:
    """What was set aside for one attempt, until it is settled; once."""

    __slots__ = ("_accounts", "_answer", "_at", "_endpoint", "_open", "_prompt", "_request", "_spending")

    def __init__(
        self,
        spending: Spending,
        accounts: list[Account],
        request: Request,
        endpoint: Endpoint,
        costs: tuple[float, float],
        at: float,
    ) -> None:
        self._spending, self._accounts = spending, accounts
        self._request, self._endpoint, self._at = request, endpoint, at
        self._prompt, self._answer = costs
        self._open = True

    def settle(self, outcome: Outcome, now: float) -> None:
        """Give back what it did not cost, and count what it did, in the stretch of time it began in.

        By the usage the endpoint reports; an answer that does not say is taken to cost what was expected.
        Who refuses, or fails at once, costs nothing. An attempt that was left, timed out or broke half-way
        costs its prompt: that is known to have been read.
        """
        self._spending._settle(self, outcome, now)

    def cancel(self) -> None:
        """Nobody was asked."""
        self._spending._settle(self, Outcome.rejected(), None)

    def cost(self, outcome: Outcome) -> float:
        """What it cost, USD, as far as is known."""
        price = self._endpoint.price
        if price is None:
            return 0.0
        if outcome.usage is not None:
            return outcome.usage.cost(price)
        if outcome.verdict is Verdict.OK:
            return self._prompt + self._answer
        return self._prompt if _was_read(outcome) else 0.0


class Spending:
    """All budgets of a cluster, and what was spent of them.

    Args:
        budgets: every one that a call counts in has to have money left for it.
        emit: told, not under the lock, when a part of a budget is spent.
    """

    def __init__(self, budgets: Sequence[Budget], emit: Callable[[Event], None] = lambda event: None) -> None:
        self.budgets, self._emit = tuple(budgets), emit
        self._lock = Lock()
        # Of each budget: who -> the account. Those of a stretch that is over go all at once.
        self._accounts: list[dict[str | None, Account]] = [{} for _ in self.budgets]
        self._expected: dict[str, Expected] = {}  # by tier

    # -- before an attempt --------------------------------------------------------------------------

    def left(self, request: Request, at: float) -> float:
        """USD that such a call may still cost, at `at` seconds since 1970; infinity: nobody counts it."""
        with self._lock:
            return self._left(self._of(request, at))

    def too_dear(self, request: Request, endpoints: Iterable[Endpoint], at: float) -> frozenset[str]:
        """Ids of those whose answer is expected to cost more than is left, at `at` seconds since 1970."""
        with self._lock:
            left = self._left(self._of(request, at))
            return frozenset(e.id for e in endpoints if not self._fits(request, e, left))

    def hold(self, request: Request, endpoint: Endpoint, at: float) -> Held | None:
        """Set aside what the attempt is expected to cost, in every budget or in none: then None."""
        with self._lock:
            accounts = self._of(request, at)
            if not self._fits(request, endpoint, self._left(accounts)):
                return None
            prompt, answer = self._costs(request, endpoint)
            for account in accounts:
                account.take(prompt + answer)
        return Held(self, accounts, request, endpoint, (prompt, answer), at)

    def exceeded(self, request: Request, now: float, at: float) -> BudgetExceeded:
        """The error of a call that nobody may be paid for; it is told to listeners too.

        Args:
            now: the cluster's monotonic time, of the event.
        """
        with self._lock:
            account = min(self._of(request, at), key=lambda account: account.left)
            part = account.news(refused=True)
            error = BudgetExceeded(
                account.scope,
                limit=account.budget.amount,
                spent=account.spent,
                resets_at=None if account.end == inf else account.end,
                held=account.held,
            )
        self._tell([(account, part)], now, at)
        return error

    @staticmethod
    def _left(accounts: Iterable[Account]) -> float:
        return min((account.left for account in accounts), default=inf)

    def _fits(self, request: Request, endpoint: Endpoint, left: float) -> bool:
        if _is_free(endpoint.price):
            return True
        return left > ROUNDING and sum(self._costs(request, endpoint)) <= left + ROUNDING

    def _costs(self, request: Request, endpoint: Endpoint) -> tuple[float, float]:
        price = endpoint.price
        if price is None:
            return 0.0, 0.0
        expected = self._expected.get(endpoint.tier) or Expected()
        prompt, answer = expected.of(request)
        return prompt * price.input / 1e6, answer * price.output / 1e6

    def _of(self, request: Request, at: float) -> list[Account]:
        found = []
        for budget, accounts in zip(self.budgets, self._accounts, strict=True):
            who: str | None = None
            if budget.scope != "cluster":
                who = request.agent if budget.scope == "agent" else request.tenant
                if who is None or (budget.name is not None and who != budget.name):
                    continue
            found.append(_current(budget, accounts, who, at))
        return found

    # -- after it -----------------------------------------------------------------------------------

    def _settle(self, held: Held, outcome: Outcome, now: float | None) -> None:
        with self._lock:
            if not held._open:
                return
            held._open = False
            cost, expected = held.cost(outcome), held._prompt + held._answer
            for account in held._accounts:
                account.settle(expected, cost)
            if now is None:
                return
            endpoint = held._endpoint
            if endpoint.price is not None and outcome.usage is not None:
                self._expected.setdefault(endpoint.tier, Expected()).learn(held._request, outcome)
            told = [(account, account.news()) for account in held._accounts]
        self._tell(told, now, held._at)

    def _tell(self, told: list[tuple[Account, float | None]], now: float, at: float) -> None:
        for account, part in told:
            if part is not None:
                budget = account.budget
                left = None if account.end == inf else max(0.0, account.end - at)
                self._emit(
                    BudgetUsed(now, budget.scope, account.who, part, account.spent, budget.amount, left)
                )

    # -- what can be seen ---------------------------------------------------------------------------

    def report(self, at: float) -> list[dict[str, Any]]:
        """One line per account that counts now: whose, how much, what of it is spent and set aside."""
        return [
            {
                "scope": account.budget.scope,
                "who": account.who,
                "per": account.budget.per,
                "amount": account.budget.amount,
                "spent": account.spent,
                "held": account.held,
                "resets_at": None if account.end == inf else account.end,
            }
            for account in self._now(at)
        ]

    def parts(self, at: float) -> dict[str, float]:
        """Scope -> the largest part of any such budget that is spent, 0-1."""
        largest: dict[str, float] = {budget.scope: 0.0 for budget in self.budgets}
        for account in self._now(at):
            scope = account.budget.scope
            largest[scope] = max(largest[scope], account.part)
        return largest

    def _now(self, at: float) -> list[Account]:
        with self._lock:
            return [known for accounts in self._accounts for known in accounts.values() if at < known.end]

    def __repr__(self) -> str:
        whose = [budget.scope if budget.name is None else budget.name for budget in self.budgets]
        return f"<Spending of {', '.join(whose)}>"


def _current(budget: Budget, accounts: dict[str | None, Account], who: str | None, at: float) -> Account:
    """The account of `at`. Under the lock."""
    account = accounts.get(who)
    if account is not None and account.begin <= at < account.end:
        return account
    begin, end = stretch(budget.per, at)
    if account is not None and at < account.begin:
        account.begin, account.end = begin, end  # the clock went back: what is spent is spent
        return account
    if account is not None:
        # Tenants come and go: who asked for nothing since then is forgotten.
        for other in [other for other, known in accounts.items() if known.end <= at]:
            del accounts[other]
    account = accounts[who] = Account(budget, who, begin, end)
    return account


def _is_free(price: Price | None) -> bool:
    return price is None or not (price.input or price.output or price.cached_input)


def _was_read(outcome: Outcome) -> bool:
    """Whether an endpoint that gave no answer has at least read the prompt."""
    if outcome.verdict is Verdict.ABANDONED:
        return True
    if outcome.verdict is not Verdict.TRANSIENT or outcome.status is not None:
        return False
    kinds = {kind.__name__ for kind in type(outcome.error).__mro__}
    late = any("Timeout" in kind for kind in kinds) and not any("Connect" in kind for kind in kinds)
    return outcome.first_token_seconds is not None or late
