"""What is left of budgets, what is told of them, and what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster.guard.spending import Held, Spending
from langchain_cluster.model.budget import Budget
from langchain_cluster.model.call import Outcome, Request, Usage
from langchain_cluster.model.endpoint import Endpoint, Price
from langchain_cluster.model.events import BudgetUsed, Event
from langchain_cluster.pool import Pool
from langchain_cluster.testing import FakeClock

DAY = 86_400.0
ENDPOINT = Endpoint("a", price=Price(input=100_000.0, output=100_000.0))  # ten tokens are a dollar
ONE = Request(prompt_tokens=0, answer_tokens=10)


class Told(list[Event]):
    @property
    def parts(self) -> list[tuple[str | None, float]]:
        return [(e.who, e.part) for e in self if isinstance(e, BudgetUsed)]


def spending(*budgets: Budget, **only: Any) -> tuple[Spending, Told]:
    told = Told()
    return Spending(budgets or (Budget(**only),), told.append), told


def held(spending: Spending, at: float = 0.0, request: Request = ONE) -> Held:
    found = spending.hold(request, ENDPOINT, at)
    assert found is not None
    return found


def used(dollars: float) -> Outcome:
    return Outcome.ok(usage=Usage(0, round(dollars * 10)))


def test_each_part_is_told_once_in_its_time() -> None:
    budget, told = spending(amount=10.0, tell_at=(0.9, 0.5))
    for number in range(10):
        held(budget, at=float(number)).settle(used(1.0), now=100.0 + number)
    assert told.parts == [(None, 0.5), (None, 0.9), (None, 1.0)]
    event = told[0]
    assert isinstance(event, BudgetUsed)
    assert (event.at, event.spent, event.limit, event.resets_in) == (104.0, 5.0, 10.0, DAY - 4.0)
    assert budget.hold(ONE, ENDPOINT, 11.0) is None
    budget.exceeded(ONE, 111.0, 11.0)
    assert len(told) == 3, "that it is spent was told"
    held(budget, at=DAY).settle(used(9.5), now=200.0)
    assert told.parts[3:] == [(None, 0.9)], "a part that was passed over is not told after it"


def test_a_refusal_is_told_though_something_is_left() -> None:
    budget, told = spending(amount=1.0)
    held(budget).settle(used(0.3), now=1.0)
    assert budget.hold(ONE, ENDPOINT, 1.0) is None
    error = budget.exceeded(ONE, 1.0, 1.0)
    assert (error.spent, error.limit, error.held) == (pytest.approx(0.3), 1.0, 0.0)
    assert told.parts == [(None, 1.0)]


def test_the_error_tells_what_is_set_aside_and_of_the_tightest_budget() -> None:
    budget, _ = spending(Budget(amount=100.0), Budget(amount=1.5, per="total", scope="agent"))
    planner = Request(agent="planner", answer_tokens=10)
    claim = held(budget, request=planner)
    error = budget.exceeded(planner, 0.0, 0.0)
    assert str(error) == (
        "budget of agent planner has too little left for this call: 0 of 1.5 USD,"
        " and 1 set aside for calls under way"
    )
    assert error.resets_at is None
    claim.cancel()
    assert budget.left(planner, 0.0) == pytest.approx(1.5)


def test_a_claim_is_settled_once() -> None:
    budget, _ = spending(amount=10.0)
    claim = held(budget)
    claim.settle(used(1.0), now=0.0)
    claim.settle(used(1.0), now=0.0)
    claim.cancel()
    assert budget.left(ONE, 0.0) == pytest.approx(9.0)


def test_what_ends_later_counts_where_it_began() -> None:
    budget, _ = spending(amount=10.0)
    claim = held(budget, at=DAY - 1.0)
    assert budget.left(ONE, DAY) == 10.0
    claim.settle(used(5.0), now=0.0)
    assert budget.left(ONE, DAY) == 10.0


def test_tenants_of_yesterday_are_forgotten() -> None:
    budget, _ = spending(amount=10.0, scope="tenant")
    for number in range(100):
        held(budget, request=Request(tenant=f"t{number}", answer_tokens=10)).settle(used(1.0), now=0.0)
    assert len(budget.report(0.0)) == 100
    assert budget.report(DAY) == []
    assert budget.parts(DAY) == {"tenant": 0.0}
    held(budget, at=DAY, request=Request(tenant="t1", answer_tokens=10))
    (line,) = budget.report(DAY)
    assert (line["who"], line["spent"], line["held"]) == ("t1", 0.0, 1.0)
    assert sum(map(len, budget._accounts)) == 1


def test_nothing_may_cost_anything_with_a_budget_of_nothing() -> None:
    budget, told = spending(amount=0.0)
    assert budget.hold(ONE, ENDPOINT, 0.0) is None
    free = Endpoint("own")
    claim = budget.hold(ONE, free, 0.0)
    assert claim is not None
    claim.settle(used(1.0), now=0.0)
    assert budget.too_dear(ONE, [ENDPOINT, free, Endpoint("x", price=Price())], 0.0) == {"a"}
    assert told.parts == []
    budget.exceeded(ONE, 0.0, 0.0)
    assert told.parts == [(None, 1.0)]


def test_what_answers_have_is_learnt_where_nothing_is_promised() -> None:
    budget, _ = spending(amount=1000.0)
    request = Request(prompt_tokens=10)
    first = budget.left(request, 0.0)
    claim = held(budget, request=request)
    assert first - budget.left(request, 0.0) == pytest.approx(1.5 + 25.6)
    claim.cancel()
    for _ in range(200):
        held(budget, request=request).settle(Outcome.ok(usage=Usage(20, 10)), now=0.0)
    before = budget.left(request, 0.0)
    held(budget, request=request)
    assert before - budget.left(request, 0.0) == pytest.approx(2.0 + 1.0, rel=0.02)


@pytest.mark.parametrize(
    ("outcome", "cost"),
    [
        (Outcome.ok(), 2.5),
        (Outcome.ok(usage=Usage(10, 10)), 2.0),
        (Outcome.abandoned(), 1.5),
        (Outcome.failed(TimeoutError("late")), 1.5),
        (Outcome.failed(type("ConnectTimeout", (Exception,), {})("late")), 0.0),
        (Outcome.failed(ConnectionError("refused")), 0.0),
        (Outcome.failed("bad gateway", status=502), 0.0),
        (Outcome.throttled(1.0), 0.0),
        (Outcome.misconfigured("no such model"), 0.0),
        (Outcome.rejected("no"), 0.0),
    ],
    ids=str,
)
def test_an_attempt_costs_what_it_surely_did(outcome: Outcome, cost: float) -> None:
    budget, _ = spending(amount=10.0)
    request = Request(prompt_tokens=10, answer_tokens=10)
    held(budget, request=request).settle(outcome, now=0.0)
    assert budget.left(request, 0.0) == pytest.approx(10.0 - cost)


def test_it_tells_whose_budgets_it_keeps() -> None:
    budget, _ = spending(Budget(amount=1.0), Budget(amount=1.0, scope="agent", name="planner"))
    assert repr(budget) == "<Spending of cluster, planner>"


def test_what_costs_something_is_not_asked_when_all_is_spent_whatever_it_is_expected_to_cost() -> None:
    budget, _ = spending(amount=1.0)
    held(budget).settle(used(1.0), now=0.0)
    assert budget.hold(Request(answer_tokens=0), ENDPOINT, 0.0) is None


def test_a_lease_that_is_not_used_costs_nothing() -> None:
    budget, _ = spending(amount=10.0)
    lease = Pool([ENDPOINT], clock=FakeClock()).acquire()
    lease.held = held(budget, request=Request(prompt_tokens=10, answer_tokens=10))
    lease.cancel()
    assert budget.left(ONE, 0.0) == 10.0
