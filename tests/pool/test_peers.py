"""The sum of a group's calls in flight: exact whatever happens to the group, and mended where it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from random import Random
from threading import Thread
from typing import Any

import pytest

from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock

TEN = [Endpoint(f"e{i}", priority=i // 8) for i in range(10)]


def counted(pool: Pool) -> None:
    """Each group has the sum of its members' calls."""
    for group in (pool.snapshot.ready, *pool.snapshot.reserve):
        for member in group:
            assert member.peers.members is group
            assert member.peers.in_flight == sum(m.in_flight for m in group)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_calls_are_counted_through_all_that_happens_to_their_group() -> None:
    clock = FakeClock()
    pool = Pool(TEN, balancer="consistent_hash", clock=clock, seed=1)
    rng, held = Random(1), []
    for step in range(2000):
        held.append(pool.acquire(Request(key=str(rng.random()))))
        while len(held) > step % 30:
            held.pop(rng.randrange(len(held))).settle(Outcome.ok(seconds=0.1))
        id = f"e{rng.randrange(10)}"
        match rng.randrange(12):
            case 0:
                pool.drain(id)
            case 1:
                pool.undrain(id)
            case 2:
                pool.set_status(id, EndpointStatus.BUSY)
            case 3:
                pool.replace(rng.sample(TEN, 9))
                pool.replace(TEN)
        counted(pool)


@pytest.mark.usefixtures("restless")
def test_no_thread_s_call_is_lost_while_groups_come_and_go() -> None:
    pool = Pool(TEN, balancer="consistent_hash", clock=FakeClock(), seed=1)
    stop: list[bool] = []
    errors: list[Exception] = []

    def call(seed: int) -> None:
        rng, held = Random(seed), []
        try:
            while not stop:
                held.append(pool.acquire(Request(key=str(rng.random()))))
                if len(held) > 5:
                    held.pop(0).settle(Outcome.ok(seconds=0.1))
        except Exception as error:  # a thread's own would be lost
            errors.append(error)
        for lease in held[:2]:
            lease.settle(Outcome.ok(seconds=0.1))  # and some stay

    threads = [Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(300):
        pool.set_status(f"e{turn % 7}", EndpointStatus.BUSY if turn % 3 else EndpointStatus.ONLINE)
    stop.append(True)
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(m.in_flight for m in pool) >= 8
    counted(pool)


def test_a_sum_that_is_wrong_is_mended_by_a_look() -> None:
    pool = Pool([Endpoint(id) for id in "abcd"], balancer="consistent_hash", clock=FakeClock(), seed=1)
    home = pool.acquire(Request(key="k")).member
    for member in pool:
        member.in_flight = 4  # behind its back
    assert pool.acquire(Request(key="k")).member is home  # 5 of 17: no more than its part and a quarter
    counted(pool)


class Foresighted:
    """Says what it was asked for."""

    name = "foresighted"

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.picked = 0

    def prepare(self, candidates: Sequence[Any], rng: Random) -> Callable[[Request, float], Any]:
        self.prepared.append("".join(c.endpoint.id for c in candidates))
        return lambda request, now: candidates[0]

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        self.picked += 1
        return candidates[-1]


def test_a_balancer_prepares_when_a_group_is_published_and_not_in_a_call() -> None:
    balancer = Foresighted()
    pool = Pool([Endpoint(id) for id in "abc"], balancer=balancer, clock=FakeClock())
    assert balancer.prepared == ["abc"]
    assert [pool.acquire().endpoint.id for _ in range(3)] == ["a"] * 3
    pool.heartbeat("a")
    pool.set_status("c", EndpointStatus.ONLINE)  # the group is as it was
    assert balancer.prepared == ["abc"]
    pool.drain("a")
    assert balancer.prepared == ["abc", "bc"]
    assert pool.acquire().endpoint.id == "b"
    assert balancer.picked == 0
    assert pool.acquire(Request(tags=frozenset()), exclude=("b",)).endpoint.id == "c"
    pool.undrain("a")
    assert pool.acquire(exclude=("a",)).endpoint.id == "c"
    assert balancer.picked == 1  # among those who are left


def test_a_level_that_gets_a_part_of_the_traffic_is_prepared_as_well() -> None:
    balancer = Foresighted()
    first = [Endpoint(id) for id in "abc"]
    pool = Pool([*first, *(Endpoint(id, priority=1) for id in "xyz")], balancer=balancer, clock=FakeClock())
    assert balancer.prepared == ["abc"]
    pool.mark("a", healthy=False, reason="down")
    assert balancer.prepared == ["abc", "bc", "xyz"]


def test_who_is_full_is_passed_over_in_one_go() -> None:
    balancer = Foresighted()
    endpoints = [Endpoint(f"e{i}", capacity=Capacity(max_connections=1)) for i in range(100)]
    pool = Pool(endpoints, balancer=balancer, clock=FakeClock())
    assert {pool.acquire().endpoint.id for _ in range(100)} == {e.id for e in endpoints}
    assert balancer.picked <= 99  # once a call: not once per endpoint that is full
