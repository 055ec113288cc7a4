"""Money through every face: what a call may cost is set aside, settled, and refused when it is spent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_cluster import (
    Budget,
    BudgetExceeded,
    ClusteredLLM,
    Endpoint,
    Overloaded,
    Policy,
    Price,
    StreamInterrupted,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import BudgetUsed, CallDegraded, CallEnded
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face, Heard, at_rest, cluster_of, text_of

MIDNIGHT = 1_767_225_600.0  # the first of January 2026, UTC
DOLLAR = Price(input=0.0, output=100_000.0)  # an answer of ten tokens costs a dollar


def answer(tokens: int = 10, text: str = "fine") -> AIMessage:
    usage = {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    return AIMessage(text, usage_metadata=usage, response_metadata={"finish_reason": "stop"})


def paid(
    id: str = "a", *script: Any, price: Price | None = DOLLAR, delay: float = 0.0, **more: Any
) -> Endpoint:
    return Endpoint(id, ScriptedModel(*(script or (answer(),)), delay=delay), price=price, **more)


def failing(error: Exception) -> Any:
    return lambda messages: error


def cheap(
    amount: float, *endpoints: Endpoint, clock: FakeClock | None = None, **options: Any
) -> ClusteredLLM:
    """Answers promise ten tokens, so that each is expected to cost what it costs."""
    options.setdefault("budgets", [Budget(amount=amount)])
    clock = clock or FakeClock()
    return ClusteredLLM(endpoints or [paid()], clock=clock, max_tokens=10, seed=1, **options)


def by(**who: str) -> dict[str, Any]:
    return {"configurable": {"cluster": who}}


def spent(llm: ClusteredLLM) -> list[tuple[str | None, float]]:
    lines = llm.cluster.stats()["budgets"]
    assert all(line["held"] == 0.0 for line in lines), "nothing is set aside for nobody"
    return [(line["who"], round(line["spent"], 6)) for line in lines]


def test_a_spent_budget_refuses_until_its_day_is_over(face: Face) -> None:
    clock = FakeClock()
    llm = cheap(3.0, clock=clock)
    heard = Heard(llm)
    clock.advance(3600.0)
    for number in range(3):
        assert cluster_of(face.ask(llm, f"question {number}"))["cost_usd"] == pytest.approx(1.0)
    with pytest.raises(BudgetExceeded) as caught:
        face.ask(llm, "one more")
    error = caught.value
    assert (error.scope, error.limit, error.resets_at) == ("cluster", 3.0, MIDNIGHT + 86_400.0)
    assert error.spent == pytest.approx(3.0)
    assert str(error) == "budget of cluster is spent: 3 of 3 USD; it begins anew at 2026-01-02 00:00:00 UTC"
    assert heard.of(CallEnded)[-1].error == "BudgetExceeded"
    assert [(e.scope, e.part, e.resets_in) for e in heard.of(BudgetUsed)] == [("cluster", 1.0, 82_800.0)]
    assert at_rest(llm)
    clock.advance(86_400.0 - 3600.0)
    assert text_of(face.ask(llm, "one more")) == "fine"
    assert spent(llm) == [(None, 1.0)]


def test_a_cached_answer_costs_nothing_and_passes(face: Face) -> None:
    llm = cheap(1.0, cache=MemoryCache())
    face.ask(llm, "hello")
    with pytest.raises(BudgetExceeded):
        face.ask(llm, "something else")
    again = cluster_of(face.ask(llm, "hello"))
    assert (again["cache"], again["cost_usd"]) == ("memory", 0.0)


def test_agents_and_tenants_have_each_their_own(face: Face) -> None:
    budgets = [
        Budget(amount=2.0, scope="agent"),
        Budget(amount=1.0, scope="agent", name="planner"),
        Budget(amount=3.0, scope="tenant", per="month"),
    ]
    llm = cheap(0.0, budgets=budgets)
    planner, writer = llm.for_agent("planner"), llm.for_agent("writer")
    face.ask(planner, "1", by(tenant="acme"))
    with pytest.raises(BudgetExceeded) as caught:
        face.ask(planner, "2", by(tenant="acme"))
    assert (caught.value.scope, caught.value.limit) == ("agent planner", 1.0)
    face.ask(writer, "3", by(tenant="acme"))
    face.ask(llm, "4", by(tenant="acme"))
    with pytest.raises(BudgetExceeded) as caught:
        face.ask(writer, "5", by(tenant="acme"))
    assert caught.value.scope == "tenant acme"
    assert caught.value.resets_at == MIDNIGHT + 31 * 86_400.0
    assert text_of(face.ask(writer, "6", by(tenant="other"))) == "fine"
    assert text_of(face.ask(llm, "7")) == "fine", "who names nobody is counted nowhere"
    assert spent(llm) == [("planner", 1.0), ("writer", 2.0), ("planner", 1.0), ("acme", 3.0), ("other", 1.0)]


def test_endpoints_that_cost_nothing_go_on(face: Face) -> None:
    llm = cheap(1.0, paid("dear"), paid("own", price=None, priority=1))
    where = [cluster_of(face.ask(llm, f"question {n}"))["endpoint"] for n in range(3)]
    assert where == ["dear", "own", "own"]


def test_who_is_cheap_enough_is_asked_for_what_is_left(face: Face) -> None:
    dear, less = paid("dear"), paid("less", price=Price(output=10_000.0), priority=1)
    llm = cheap(1.25, dear, less)
    where = [cluster_of(face.ask(llm, f"question {n}"))["endpoint"] for n in range(3)]
    assert where == ["dear", "less", "less"]
    with pytest.raises(BudgetExceeded):
        face.ask(llm, "one more")
    assert spent(llm) == [(None, 1.2)]
    assert at_rest(llm)


def test_every_attempt_is_counted(face: Face) -> None:
    """One that fails at once costs nothing; one that times out has read its prompt at least."""
    price = Price(input=100_000.0, output=100_000.0)
    late = paid("late", failing(TimeoutError("no answer in time")), price=price)
    down = paid("down", failing(ConnectionError("refused")), price=price, priority=1)
    llm = cheap(100.0, late, down, paid("good", priority=2))
    face.ask(llm, "x" * 60, max_tokens=10)
    assert spent(llm) == [(None, 1.0 + 1.5)], "ten tokens by their letters, times 1.5 until some were seen"


def test_a_stream_that_breaks_has_cost_its_prompt(face: Face) -> None:
    breaks = ["so ", "far", ConnectionError("reset")] if face.streams else ConnectionError("reset")
    llm = cheap(10.0, paid("a", breaks, price=Price(input=100_000.0)), policy=Policy(attempts=1))
    with pytest.raises(StreamInterrupted if face.streams else ConnectionError):
        face.ask(llm, "x" * 60)
    assert spent(llm) == [(None, 1.5 if face.streams else 0.0)]


def test_a_refused_call_degrades_where_its_policy_says_so(face: Face) -> None:
    policy = Policy(degrade=("stale_cache", "static_answer"), static_answer="Come back tomorrow.")
    llm = cheap(1.0, policy=policy)
    heard = Heard(llm)
    face.ask(llm, "hello")
    message = face.ask(llm, "hello again")
    assert text_of(message) == "Come back tomorrow."
    assert [(e.step, e.error) for e in heard.of(CallDegraded)] == [("static_answer", "BudgetExceeded")]


def test_the_ladder_goes_to_a_tier_that_can_be_paid_for(face: Face) -> None:
    small = paid("small", price=Price(output=1000.0), tier="small")
    llm = cheap(1.5, paid("large", tier="large"), small, policy=Policy(degrade=("cheaper_tier",)))
    config = by(tier="large")
    assert cluster_of(face.ask(llm, "hello", config))["endpoint"] == "large"
    where = cluster_of(face.ask(llm, "hello again", config))
    assert (where["endpoint"], where["tier"], where["degraded"]) == ("small", "small", "cheaper_tier")


def test_what_is_not_used_is_given_back(face: Face) -> None:
    llm = cheap(10.0, paid("a", answer(2)))
    for number in range(45):
        face.ask(llm, f"question {number}")  # each promises a dollar, and costs a fifth
    assert spent(llm) == [(None, 9.0)]


def test_an_answer_that_does_not_say_costs_what_was_expected(face: Face) -> None:
    llm = cheap(10.0, paid("a", "fine"))
    assert cluster_of(face.ask(llm, "hello"))["cost_usd"] is None
    assert spent(llm) == [(None, 1.0)]


def test_a_retry_that_cannot_be_paid_for_is_not_made(face: Face) -> None:
    good = paid("good", priority=1)
    llm = cheap(2.0, paid("late", failing(TimeoutError("late")), price=Price(input=100_000.0)), good)
    with pytest.raises(TimeoutError) as caught:
        face.ask(llm, "x" * 60)
    told = "no further attempt: budget of cluster has too little left for this call: 1.5 of 2 USD"
    assert any(told in note for note in caught.value.__notes__)
    assert good.model.calls == 0


def test_only_as_many_threads_pass_as_there_is_money_for() -> None:
    gate = threading.Barrier(20)
    llm = cheap(5.0, paid(delay=0.01))
    passed: list[bool] = []
    taken: list[float] = []

    def ask(number: int) -> None:
        gate.wait()
        try:
            llm.invoke(f"question {number}")
            passed.append(True)
        except BudgetExceeded as error:
            taken.append(error.spent + error.held)
            passed.append(False)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (passed.count(True), taken) == (5, [pytest.approx(5.0)] * 15)
    assert spent(llm) == [(None, 5.0)]


async def test_a_cancelled_call_gives_back_what_it_did_not_use() -> None:
    llm = cheap(1.0, paid(delay=60.0))
    call = asyncio.create_task(llm.ainvoke("hello"))
    while not llm.cluster.pool.get("a").in_flight:  # type: ignore[union-attr]
        await asyncio.sleep(0.001)
    assert llm.cluster.stats()["budgets"][0]["held"] == pytest.approx(1.0)
    with pytest.raises(BudgetExceeded):
        await llm.ainvoke("hello there")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert spent(llm) == [(None, 0.0)]


async def test_a_lost_hedge_is_paid_for_too() -> None:
    clock = FakeClock()
    slow = paid("slow", delay=60.0, price=Price(input=100_000.0))
    llm = cheap(10.0, slow, paid("quick", priority=1), clock=clock, policy=Policy(hedge=1.0))
    call = asyncio.create_task(llm.ainvoke("x" * 60))
    while not llm.cluster.pool.get("slow").in_flight:  # type: ignore[union-attr]
        await asyncio.sleep(0.001)
    while not call.done():
        clock.advance(1.0)
        await asyncio.sleep(0.01)
    assert cluster_of(call.result())["hedged"] is True
    assert spent(llm) == [(None, 2.5)]


def test_a_clock_that_is_set_back_brings_no_money_back(face: Face) -> None:
    clock = FakeClock()
    llm = cheap(1.0, clock=clock)
    face.ask(llm, "hello")
    clock.set_wall(MIDNIGHT - 40 * 86_400.0)
    with pytest.raises(BudgetExceeded) as caught:
        face.ask(llm, "hello there")
    assert caught.value.resets_at == MIDNIGHT - 39 * 86_400.0
    clock.set_wall(MIDNIGHT - 39 * 86_400.0)
    assert text_of(face.ask(llm, "hello there")) == "fine"


def test_other_errors_come_first_where_money_is_not_what_is_missing(face: Face) -> None:
    llm = cheap(1.0, queue=None, policy=Policy(timeout=1.0))
    llm.cluster.pool.drain("a")
    with pytest.raises(Exception) as caught:
        face.ask(llm, "hello")
    assert not isinstance(caught.value, BudgetExceeded | Overloaded)
