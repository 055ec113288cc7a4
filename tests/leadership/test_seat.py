"""When a process asks for the lead, renews it and gives it up; time is an argument."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest

from langchain_cluster.leadership import ConsulLeadership, LocalLeadership, Seat, Term

Hold = Callable[[Seat, float, float], Awaitable[Term | None]]


class Scripted:
    """Answers what the test says, and remembers what it was asked."""

    trouble: str | None = None

    def __init__(self, lease: float = 30.0) -> None:
        self.lease = lease
        self.asked: list[str] = []
        self.answer: Callable[[float], Term | None] = lambda now: Term(7, now + lease)

    def acquire(self, now: float) -> Term | None:
        self.asked.append(f"acquire {now:g}")
        return self.answer(now)

    def renew(self, term: Term, now: float) -> Term | None:
        self.asked.append(f"renew {term.token} {now:g}")
        return self.answer(now)

    def release(self, term: Term) -> None:
        self.asked.append(f"release {term.token}")

    async def aacquire(self, now: float) -> Term | None:
        return self.acquire(now)

    async def arenew(self, term: Term, now: float) -> Term | None:
        return self.renew(term, now)

    async def arelease(self, term: Term) -> None:
        self.release(term)


@pytest.fixture(params=["blocking", "awaited"])
def hold(request: pytest.FixtureRequest) -> Hold:
    async def hold(seat: Seat, now: float, need: float = 1.0) -> Term | None:
        if request.param == "awaited":
            return await seat.ahold(now, need=need)
        return await asyncio.to_thread(seat.hold, now, need=need)

    return hold


async def test_a_term_is_used_without_asking_and_renewed_when_half_of_it_is_over(hold: Hold) -> None:
    leader = Scripted()
    seat = Seat(leader)
    assert await hold(seat, 0.0, 1.0) == Term(7, 30.0)
    assert await hold(seat, 15.0, 1.0) == Term(7, 30.0)
    assert leader.asked == ["acquire 0"]
    assert await hold(seat, 15.1, 1.0) == Term(7, 45.1)
    assert leader.asked == ["acquire 0", "renew 7 15.1"]


async def test_a_piece_of_work_is_not_begun_in_a_term_that_ends_before_it(hold: Hold) -> None:
    leader = Scripted()
    seat = Seat(leader)
    await hold(seat, 0.0, 1.0)
    leader.answer = lambda now: Term(7, 30.0)  # it cannot be renewed, and has not ended yet
    assert await hold(seat, 12.0, 20.0) is None
    assert leader.asked[-1] == "renew 7 12"
    assert await hold(seat, 12.0, 18.0) == Term(7, 30.0)


async def test_a_term_that_was_lost_stops_the_work(hold: Hold) -> None:
    leader = Scripted()
    seat = Seat(leader)
    await hold(seat, 0.0, 1.0)
    leader.answer = lambda now: None
    assert await hold(seat, 20.0, 1.0) is None
    assert repr(seat) == "<Seat none>"


async def test_a_term_that_ended_unnoticed_is_not_renewed_but_asked_for_anew(hold: Hold) -> None:
    leader = Scripted()
    seat = Seat(leader)
    await hold(seat, 0.0, 1.0)
    assert repr(seat) == "<Seat term 7>"
    assert await hold(seat, 30.0, 1.0) == Term(7, 60.0)
    assert leader.asked == ["acquire 0", "acquire 30"]


async def test_who_is_not_the_holder_asks_again_after_a_pause(hold: Hold) -> None:
    leader = Scripted(lease=5.0)
    leader.answer = lambda now: None
    seat = Seat(leader)
    for now in (0.0, 0.1, 0.49, 0.5, 0.6):
        assert await hold(seat, now, 1.0) is None
    assert leader.asked == ["acquire 0", "acquire 0.5"]


async def test_leaving_gives_the_place_back_once(hold: Hold) -> None:
    leader = Scripted()
    seat = Seat(leader)
    seat.leave()
    await hold(seat, 0.0, 1.0)
    seat.leave()
    await seat.aleave()
    await hold(seat, 1.0, 1.0)
    await seat.aleave()
    assert leader.asked == ["acquire 0", "release 7", "acquire 1", "release 7"]


async def test_a_fork_does_not_take_its_parents_term_along(hold: Hold, monkeypatch: Any) -> None:
    leader = LocalLeadership()
    seat = Seat(leader)
    assert await hold(seat, 0.0, 1.0) == Term(1, inf)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert await hold(seat, 0.0, 1.0) is None


async def test_a_fork_does_not_give_its_parents_term_back(hold: Hold, monkeypatch: Any) -> None:
    leader = Scripted()
    seats = [Seat(leader), Seat(leader)]
    for seat in seats:
        await hold(seat, 0.0, 1.0)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    seats[0].leave()
    await seats[1].aleave()
    assert leader.asked == ["acquire 0"] * 2


def test_a_term_in_consul_does_not_outlast_its_session_of_whole_seconds() -> None:
    pytest.importorskip("consul")
    assert ConsulLeadership(lease=10.9).lease == 10.0
