"""Waiting for a place: by priority, tenants in turn, and what is leased for a call nobody else takes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig

from langchain_cluster import (
    Capacity,
    ClusteredLLM,
    DeadlineExceeded,
    Endpoint,
    Outcome,
    QueuePolicy,
    Request,
)
from langchain_cluster.pool import Pool
from langchain_cluster.pool.line import PRIORITIES, Full, Line, Place
from langchain_cluster.pool.members import Lease
from langchain_cluster.testing import FakeClock, ScriptedModel

ONE = Capacity(max_connections=1)


class Waiting:
    """A pool whose only endpoints are taken, and calls that wait for them."""

    def __init__(self, *ids: str, size: int | None = None) -> None:
        self.clock = FakeClock()
        endpoints = [Endpoint(id, tier=id, capacity=ONE) for id in ids or ("a",)]
        queue = None if size is None else QueuePolicy(size=size)
        self.pool = Pool(endpoints, clock=self.clock, seed=1, queue=queue)
        self.taken = [self.pool.acquire() for _ in endpoints]
        self.told: list[str] = []

    @property
    def line(self) -> Line:
        return self.pool.line

    def join(self, name: str = "", tenant: str | None = None, **more: object) -> Place:
        deadline = more.pop("deadline", None)
        request = Request(tenant=tenant, **more)  # type: ignore[arg-type]
        place = self.line.join(request, deadline=deadline, now=self.clock.now())  # type: ignore[arg-type]
        place.subscribe(lambda: self.told.append(name))
        return place

    def end(self, number: int = 0) -> None:
        """The call ends that holds the place."""
        self.taken[number].settle(Outcome.ok(seconds=0.1))

    def serve_all(self, places: dict[str, Place]) -> list[str]:
        """The calls in the order they are served; each ends at once."""
        self.end()
        order: list[str] = []
        while served := [name for name, place in places.items() if place.lease is not None]:
            (name,) = served
            order.append(name)
            places.pop(name).take().settle(Outcome.ok(seconds=0.1))
        return order


def test_a_place_is_leased_for_the_next_in_line_before_anybody_else_can_have_it() -> None:
    waiting = Waiting()
    first, second = waiting.join("first"), waiting.join("second")
    waiting.end()
    assert (waiting.told, waiting.line.waiting) == (["first"], 1)
    assert first.lease is not None
    assert second.lease is None
    first.take().settle(Outcome.ok())
    assert waiting.told == ["first", "second"]


def test_critical_calls_come_first_and_sheddable_ones_last() -> None:
    waiting = Waiting()
    names = ("sheddable", "normal", "critical", "normal 2", "critical 2")
    places = {name: waiting.join(priority=name.split()[0]) for name in names}
    assert waiting.serve_all(places) == ["critical", "critical 2", "normal", "normal 2", "sheddable"]


def test_a_priority_nobody_knows_is_a_normal_one() -> None:
    waiting = Waiting()
    places = {name: waiting.join(priority=name) for name in ("sheddable", "odd", "critical")}
    assert waiting.serve_all(places) == ["critical", "odd", "sheddable"]


def test_tenants_are_served_in_turn_however_many_calls_one_has() -> None:
    waiting = Waiting()
    places = {f"a{n}": waiting.join(tenant="a") for n in range(1000)}
    places |= {"b0": waiting.join(tenant="b"), "b1": waiting.join(tenant="b"), "-": waiting.join()}
    assert waiting.serve_all(places)[:8] == ["a0", "b0", "-", "a1", "b1", "a2", "a3", "a4"]


def test_a_full_line_refuses_one_more_of_the_same_rank() -> None:
    waiting = Waiting(size=2)
    waiting.join(), waiting.join()
    with pytest.raises(Full):
        waiting.join()
    assert waiting.line.counts() == {"waiting": 2, "size": 2, "waited": 2, "shed": 1}


def test_a_call_that_matters_more_takes_the_place_of_the_newest_that_matters_least() -> None:
    waiting = Waiting(size=3)
    old, new = waiting.join("old", priority="sheddable"), waiting.join("new", priority="sheddable")
    normal = waiting.join("normal")
    waiting.join(priority="critical")
    assert (waiting.told, new.shed, old.shed, normal.shed) == (["new"], True, False, False)
    waiting.join()
    assert waiting.told == ["new", "old"]
    with pytest.raises(Full):
        waiting.join(priority="sheddable")
    waiting.join(priority="critical")
    assert (waiting.told, normal.shed, waiting.line.waiting) == (["new", "old", ""], False, 3)


def test_a_tenant_with_few_calls_takes_a_place_of_the_one_with_most() -> None:
    waiting = Waiting(size=4)
    hog = [waiting.join(tenant="hog") for _ in range(4)]
    waiting.join(tenant="small")
    assert [place.shed for place in hog] == [False, False, False, True]
    waiting.join(tenant="small")  # two each from now on
    with pytest.raises(Full):
        waiting.join(tenant="small")
    with pytest.raises(Full):
        waiting.join(tenant="hog")


def test_who_leaves_makes_room_at_once() -> None:
    waiting = Waiting(size=1)
    with waiting.join():
        assert waiting.line.waiting == 1
    assert waiting.line.waiting == 0
    waiting.join()


def test_who_leaves_with_a_place_passes_it_on() -> None:
    waiting = Waiting()
    with waiting.join("first"):
        second = waiting.join("second")
        waiting.end()
        assert second.lease is None
    assert second.lease is not None
    assert waiting.told == ["first", "second"]


def test_a_call_past_its_deadline_is_never_served() -> None:
    waiting = Waiting()
    late, next_one = waiting.join(deadline=waiting.clock.now() + 1.0), waiting.join()
    waiting.clock.advance(1.0)
    waiting.end()
    assert late.lease is None
    assert next_one.lease is not None


def test_calls_of_one_kind_hold_up_nobody_else() -> None:
    waiting = Waiting("a", "b")
    places = [waiting.join(tier="a") for _ in range(3)] + [waiting.join(tier="b")]
    assert waiting.line.holds_up(Request(tier="a"), ())
    assert not waiting.line.holds_up(Request(), ())
    number = [lease.endpoint.id for lease in waiting.taken].index("b")
    waiting.end(number)
    assert [place.lease is not None for place in places] == [False, False, False, True]


def test_who_waits_in_vain_is_told_so() -> None:
    waiting = Waiting()
    place = waiting.join("first")
    waiting.pool.force_open("a")
    waiting.line.serve(waiting.clock.now())
    assert (waiting.told, waiting.line.waiting) == (["first"], 0)
    assert place.nobody is not None
    assert "forced open" in str(place.nobody)


def test_what_happened_before_anybody_listened_is_not_missed() -> None:
    waiting = Waiting()
    place = waiting.line.join(Request(), now=waiting.clock.now())
    waiting.end()
    place.subscribe(lambda: waiting.told.append("at once"))
    assert waiting.told == ["at once"]


def test_a_lease_for_somebody_who_left_meanwhile_is_given_back() -> None:
    waiting = Waiting()
    first, second = waiting.join("first"), waiting.join("second")
    acquire = waiting.pool.acquire

    def leaves_first(*given: object, **named: object) -> Lease:
        waiting.line.leave(first)
        return acquire(*given, **named)  # type: ignore[arg-type]

    waiting.pool.acquire = leaves_first  # type: ignore[method-assign]
    waiting.end()
    assert first.lease is None
    assert second.lease is not None


def test_an_error_while_serving_does_not_end_serving_for_ever() -> None:
    waiting = Waiting()
    place = waiting.join()
    acquire = waiting.pool.acquire

    def breaks(*given: object, **named: object) -> Lease:
        raise KeyboardInterrupt

    waiting.pool.acquire = breaks  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        waiting.end()
    waiting.pool.acquire = acquire  # type: ignore[method-assign]
    waiting.line.serve(waiting.clock.now())
    assert place.lease is not None


@given(st.lists(st.tuples(st.sampled_from(PRIORITIES), st.sampled_from("abc")), max_size=40))
def test_the_order_is_priority_then_tenants_in_turn_then_first_come(calls: list[tuple[str, str]]) -> None:
    waiting = Waiting()
    places = {
        f"{priority} {tenant} {n}": waiting.join(priority=priority, tenant=tenant)
        for n, (priority, tenant) in enumerate(calls)
    }
    order = [name.split() for name in waiting.serve_all(places)]
    assert len(order) == len(calls)
    ranks = [PRIORITIES.index(priority) for priority, _, _ in order]
    assert ranks == sorted(ranks)
    for rank in PRIORITIES:
        served = [(tenant, int(number)) for priority, tenant, number in order if priority == rank]
        for tenant in "abc":
            numbers = [number for who, number in served if who == tenant]
            assert numbers == sorted(numbers)  # first come
        left = {tenant: sum(who == tenant for who, _ in served) for tenant in "abc"}
        while served:  # in turn: nobody is served twice while another has been served less and waits
            turn = [tenant for tenant, _ in served[: sum(count > 0 for count in left.values())]]
            assert len(set(turn)) == len(turn)
            for tenant in turn:
                left[tenant] -= 1
            served = served[len(turn) :]


def limited(most: int, count: int = 2, **options: Any) -> tuple[ClusteredLLM, list[ScriptedModel]]:
    models = [ScriptedModel("ok", delay=0.01) for _ in range(count)]
    capacity = Capacity(max_connections=most)
    endpoints = [Endpoint(f"e{n}", model, capacity=capacity) for n, model in enumerate(models)]
    return ClusteredLLM(endpoints, seed=1, **options), models


async def test_more_calls_than_places_wait_their_turn_in_tasks() -> None:
    llm, models = limited(2)
    answers = await asyncio.gather(*(llm.ainvoke(f"question {n}") for n in range(40)))
    assert len(answers) == 40 == sum(model.calls for model in models)
    assert len(llm.cluster.pool.line) == 0


def test_more_calls_than_places_wait_their_turn_in_threads() -> None:
    llm, models = limited(2)
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: llm.invoke(f"question {n}"), range(40)))
    assert len(answers) == 40 == sum(model.calls for model in models)
    llm.cluster.close()


async def test_who_waits_too_long_is_told_so_at_the_deadline() -> None:
    llm, _ = limited(1, count=1)
    with llm.cluster.pool.acquire():  # somebody has the only place
        with pytest.raises(DeadlineExceeded, match="nobody was asked"):
            await llm.ainvoke("b", config={"configurable": {"cluster": {"timeout": 0.1}}})
        assert len(llm.cluster.pool.line) == 0
    assert (await llm.ainvoke("b")).content == "ok"


async def test_a_place_is_not_lost_with_the_call_that_was_told_of_it() -> None:
    clock = FakeClock()  # it stands still: nobody looks again of himself
    llm, _ = limited(1, count=1, clock=clock)
    lease = llm.cluster.pool.acquire()
    told, next_one = [asyncio.create_task(llm.ainvoke(text)) for text in ("first", "second")]
    while len(llm.cluster.pool.line) < 2:
        await asyncio.sleep(0)
    lease.settle(Outcome.ok(seconds=0.1))
    told.cancel()
    assert (await asyncio.wait_for(next_one, 5)).content == "ok"
    assert told.cancelled()


async def test_calls_for_a_busy_tier_do_not_hold_up_those_for_another() -> None:
    clock = FakeClock()
    place = Capacity(max_connections=1)
    endpoints = [Endpoint(tier, ScriptedModel(tier), tier=tier, capacity=place) for tier in ("slow", "quick")]
    llm = ClusteredLLM(endpoints, clock=clock)

    def asks(tier: str, number: int) -> asyncio.Task[object]:
        config: RunnableConfig = {"configurable": {"cluster": {"tier": tier}}}
        return asyncio.create_task(llm.ainvoke(f"question {number}", config=config))

    leases = [llm.cluster.pool.acquire(Request(tier=tier)) for tier in ("slow", "quick")]
    slow = [asks("slow", number) for number in range(5)]
    quick = [asks("quick", number) for number in range(20)]
    while len(llm.cluster.pool.line) < 25:
        await asyncio.sleep(0)
    leases[1].settle(Outcome.ok(seconds=0.1))
    await asyncio.wait_for(asyncio.gather(*quick), 5)
    assert not any(task.done() for task in slow)
    leases[0].settle(Outcome.ok(seconds=0.1))
    await asyncio.wait_for(asyncio.gather(*slow), 5)
