"""A breaker's states, its transitions, and the traps well-known breakers fell into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from threading import Barrier, Thread
from typing import Any

import pytest

from langchain_cluster.guard.breaker import BreakerState, CircuitBreaker, Permit
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.events import BreakerChanged
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.testing.clock import FakeClock

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
FORCED_OPEN, DISABLED, METRICS_ONLY = (
    BreakerState.FORCED_OPEN,
    BreakerState.DISABLED,
    BreakerState.METRICS_ONLY,
)
OK, TRANSIENT, CONFIG = Verdict.OK, Verdict.TRANSIENT, Verdict.CONFIG
PROBE_EXPIRES = 60.0
SAYS_NOTHING = [Verdict.ABANDONED, Verdict.THROTTLED, Verdict.CALLER, Verdict.OVERFLOW, Verdict.STALE_LOOP]


class Most(Random):
    """Chance that always gives the most: equal jitter makes no difference."""

    def random(self) -> float:
        return 1.0


class Least(Random):
    """Chance that always gives the least: half of the open time."""

    def random(self) -> float:
        return 0.0


class Watched:
    """A breaker, its clock, and what it told."""

    def __init__(self, rng: Random | None = None, **policy: Any) -> None:
        self.clock = FakeClock(1000.0)
        self.told: list[tuple[BreakerState, BreakerState, str, float]] = []
        self.breaker = CircuitBreaker(
            BreakerPolicy(**policy),
            self.clock,
            rng=rng or Most(),
            on_change=self.hear,
        )

    def hear(self, change: BreakerChanged) -> None:
        self.told.append((BreakerState(change.before), BreakerState(change.state), change.reason, change.at))

    def permit(self) -> Permit:
        permit = self.breaker.try_acquire(self.clock.now())
        assert permit is not None
        return permit

    def refused(self) -> bool:
        return self.breaker.try_acquire(self.clock.now()) is None

    def call(self, verdict: Verdict = OK, times: int = 1, seconds: float = 0.1) -> None:
        for _ in range(times):
            self.breaker.record(self.permit(), verdict, self.clock.now(), seconds)

    def open(self) -> None:
        """Open it by failures in a row and wait until a probe is due."""
        self.call(TRANSIENT, times=self.breaker.policy.consecutive_failures or 5)
        assert self.breaker.state is OPEN
        self.clock.advance(self.breaker.open_until - self.clock.now())

    @property
    def state(self) -> BreakerState:
        return self.breaker.state


# -- closed --------------------------------------------------------------------------------------


def test_a_probe_that_never_reports_holds_its_place_for_a_minute() -> None:
    assert BreakerPolicy().probe_expires == PROBE_EXPIRES


def test_it_may_begin_in_another_state_and_goes_back_to_it() -> None:
    breaker = CircuitBreaker(BreakerPolicy(), FakeClock(), state=DISABLED)
    assert breaker.state is DISABLED
    breaker.force_open()
    breaker.reset()
    assert breaker.state is DISABLED


def test_its_generation_grows_with_every_transition() -> None:
    watched = Watched()
    before = watched.breaker.generation
    watched.open()
    watched.call(OK)
    assert watched.breaker.generation == before + 3
    assert watched.permit().generation == before + 3


def test_it_begins_closed_and_admits_everybody() -> None:
    watched = Watched()
    assert watched.state is CLOSED
    assert all(watched.permit() is not None for _ in range(1000))
    assert watched.breaker.open_until == 0.0


def test_a_closed_permit_is_no_probe() -> None:
    assert Watched().permit().probe is False


def test_it_opens_after_as_many_failures_in_a_row_as_its_policy_says() -> None:
    watched = Watched(consecutive_failures=3)
    watched.call(TRANSIENT, times=2)
    assert watched.state is CLOSED
    watched.call(TRANSIENT)
    assert watched.state is OPEN
    assert watched.told == [(CLOSED, OPEN, "3 failures in a row", 1000.0)]


def test_an_answer_in_between_begins_the_row_anew() -> None:
    watched = Watched(consecutive_failures=3, failure_rate=1.0)
    for _ in range(10):
        watched.call(TRANSIENT, times=2)
        watched.call(OK)
    assert watched.state is CLOSED


@pytest.mark.parametrize("verdict", SAYS_NOTHING)
def test_what_says_nothing_about_the_endpoint_is_not_counted(verdict: Verdict) -> None:
    watched = Watched(consecutive_failures=3)
    watched.call(TRANSIENT, times=2)
    watched.call(verdict, times=100)
    assert watched.breaker.counts(1000.0) == (2, 2, 0)
    assert watched.state is CLOSED
    watched.call(TRANSIENT)
    assert watched.state is OPEN  # nor did it break the row


def test_without_a_row_it_opens_by_the_rate_alone() -> None:
    watched = Watched(consecutive_failures=None, failure_rate=0.5, min_calls=10)
    watched.call(TRANSIENT, times=9)
    assert watched.state is CLOSED  # nine calls say too little
    watched.call(TRANSIENT)
    assert watched.state is OPEN
    assert watched.told[0][2] == "10 of 10 failed"


def test_the_rate_is_of_all_calls_in_the_window() -> None:
    watched = Watched(consecutive_failures=None, failure_rate=0.5, min_calls=10)
    watched.call(OK, times=8)
    watched.call(TRANSIENT, times=7)
    assert watched.state is CLOSED
    watched.call(TRANSIENT)
    assert watched.state is OPEN
    assert watched.told[0][2] == "8 of 16 failed"


def test_failures_older_than_the_window_are_forgotten() -> None:
    watched = Watched(consecutive_failures=None, min_calls=10, window=30.0)
    watched.call(TRANSIENT, times=9)
    watched.clock.advance(31.0)
    watched.call(TRANSIENT, times=9)
    assert watched.state is CLOSED
    assert watched.breaker.counts(watched.clock.now()) == (9, 9, 0)


def test_an_answer_never_opens_it_even_where_the_rate_is_reached_by_it() -> None:
    """The tenth call makes the calls enough; it is an answer, and the next failure opens."""
    watched = Watched(consecutive_failures=None, failure_rate=0.5, min_calls=10)
    watched.call(TRANSIENT, times=9)
    watched.call(OK)
    assert watched.state is CLOSED
    watched.call(TRANSIENT)
    assert watched.state is OPEN


def test_slow_calls_open_it_only_where_slow_is_defined() -> None:
    watched = Watched(min_calls=10)
    watched.call(OK, times=100, seconds=1e6)
    assert watched.state is CLOSED
    watched = Watched(min_calls=10, slow_call_seconds=2.0, slow_call_rate=0.8)
    watched.call(OK, times=20, seconds=1.0)
    watched.call(OK, times=70, seconds=2.1)
    assert watched.state is CLOSED  # 78 %
    watched = Watched(min_calls=10, slow_call_seconds=2.0, slow_call_rate=0.8)
    watched.call(OK, times=2, seconds=1.0)
    watched.call(OK, times=7, seconds=2.1)
    assert watched.state is CLOSED
    watched.call(OK, seconds=2.1)
    assert watched.state is OPEN
    assert watched.told[0][2] == "8 of 10 took longer than 2 s"


def test_a_call_that_takes_exactly_the_limit_is_not_slow() -> None:
    watched = Watched(min_calls=1, slow_call_seconds=2.0)
    watched.call(OK, times=50, seconds=2.0)
    assert watched.state is CLOSED
    assert watched.breaker.counts(1000.0) == (50, 0, 0)


def test_a_misconfigured_endpoint_opens_at_once() -> None:
    watched = Watched()
    watched.call(OK, times=100)
    watched.call(CONFIG)
    assert watched.state is OPEN
    assert watched.told == [(CLOSED, OPEN, "misconfigured", 1000.0)]


def test_threads_that_fail_together_open_it_once() -> None:
    for _ in range(20):
        watched = Watched(consecutive_failures=5)
        permits = [watched.permit() for _ in range(32)]
        start = Barrier(32)

        def fail(permit: Permit, watched: Watched = watched, start: Barrier = start) -> None:
            start.wait()
            watched.breaker.record(permit, TRANSIENT, 1000.0)

        run([partial(fail, permit) for permit in permits])
        assert [after for _, after, _, _ in watched.told] == [OPEN]


# -- open ----------------------------------------------------------------------------------------


def test_an_open_circuit_refuses_until_its_time_is_over() -> None:
    watched = Watched(open_for=5.0)
    watched.call(TRANSIENT, times=5)
    assert watched.breaker.open_until == 1005.0
    for _ in range(49):
        assert watched.refused()
        watched.clock.advance(0.1)
    assert watched.refused()
    watched.clock.advance(0.2)
    assert watched.permit().probe
    assert watched.state is HALF_OPEN
    assert watched.told[-1][:3] == (OPEN, HALF_OPEN, "the open time is over")


def test_its_open_time_ends_exactly_when_it_says() -> None:
    watched = Watched(open_for=5.0)
    watched.call(TRANSIENT, times=5)
    watched.clock.advance(5.0)
    assert watched.clock.now() == watched.breaker.open_until
    assert watched.permit().probe


def test_the_open_time_doubles_for_each_opening_in_a_row_up_to_its_bound() -> None:
    watched = Watched(open_for=5.0, max_open=60.0)
    lengths = []
    watched.call(TRANSIENT, times=5)
    for _ in range(8):
        lengths.append(watched.breaker.open_until - watched.clock.now())
        watched.clock.advance(lengths[-1])
        watched.call(TRANSIENT)  # the probe
    assert lengths == [5, 10, 20, 40, 60, 60, 60, 60]


def test_half_of_the_open_time_is_left_to_chance() -> None:
    least, most = Watched(Least(), open_for=8.0), Watched(Most(), open_for=8.0)
    for watched in (least, most):
        watched.call(TRANSIENT, times=5)
    assert least.breaker.open_until == 1004.0
    assert most.breaker.open_until == 1008.0


def test_the_same_seed_gives_the_same_jitter_and_another_does_not() -> None:
    def until(seed: int) -> float:
        watched = Watched(Random(seed))
        watched.call(TRANSIENT, times=5)
        return watched.breaker.open_until

    assert until(1) == until(1)
    assert len({until(seed) for seed in range(20)}) == 20
    assert all(1002.5 <= until(seed) <= 1005.0 for seed in range(20))


def test_closing_resets_the_growth_of_the_open_time() -> None:
    watched = Watched(open_for=5.0)
    watched.open()
    watched.call(TRANSIENT)
    assert watched.breaker.open_until - watched.clock.now() == 10.0
    watched.clock.advance(10.0)
    watched.call(OK)
    assert watched.state is CLOSED
    watched.call(TRANSIENT, times=5)
    assert watched.breaker.open_until - watched.clock.now() == 5.0


def test_an_outage_of_any_length_does_not_overflow_the_open_time() -> None:
    watched = Watched()
    watched.open()
    for _ in range(2000):
        watched.call(TRANSIENT)
        assert 0 < watched.breaker.open_until - watched.clock.now() <= 300.0
        watched.clock.advance(300.0)


# -- generations ---------------------------------------------------------------------------------


def test_a_stale_success_does_not_close() -> None:
    watched = Watched()
    early = watched.permit()
    watched.open()
    watched.breaker.record(early, OK, watched.clock.now())
    assert watched.state is OPEN
    probe = watched.permit()
    watched.breaker.record(early, OK, watched.clock.now())
    assert watched.state is HALF_OPEN
    watched.breaker.record(probe, OK, watched.clock.now())
    assert watched.state is CLOSED


def test_a_stale_failure_does_not_extend_the_break() -> None:
    watched = Watched(open_for=5.0)
    early = [watched.permit() for _ in range(50)]
    watched.call(TRANSIENT, times=5)
    until = watched.breaker.open_until
    watched.clock.advance(4.0)
    for permit in early[:25]:
        watched.breaker.record(permit, TRANSIENT, watched.clock.now())
    assert watched.breaker.open_until == until
    watched.clock.advance(1.0)
    probe = watched.permit()
    for permit in early[25:]:
        watched.breaker.record(permit, TRANSIENT, watched.clock.now())
    assert watched.state is HALF_OPEN
    watched.breaker.record(probe, OK, watched.clock.now())
    assert watched.state is CLOSED
    assert watched.breaker.counts(watched.clock.now()) == (0, 0, 0)


def test_a_stale_failure_does_not_count_against_a_circuit_that_has_closed_again() -> None:
    watched = Watched()
    early = [watched.permit() for _ in range(50)]
    watched.open()
    watched.call(OK)
    for permit in early:
        watched.breaker.record(permit, TRANSIENT, watched.clock.now())
    assert watched.state is CLOSED
    assert watched.breaker.counts(watched.clock.now()) == (0, 0, 0)


def test_a_probe_of_an_earlier_half_open_says_nothing_about_a_later_one() -> None:
    watched = Watched(half_open_probes=2)
    watched.open()
    first, second = watched.permit(), watched.permit()
    watched.breaker.record(first, TRANSIENT, watched.clock.now())
    watched.clock.advance(100.0)
    third = watched.permit()
    watched.breaker.record(second, OK, watched.clock.now())
    watched.breaker.record(third, OK, watched.clock.now())
    assert watched.state is HALF_OPEN  # one of the two it needs


# -- half open -----------------------------------------------------------------------------------


def run(jobs: list[Callable[[], None]]) -> None:
    threads = [Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("probes", [1, 3])
def test_of_a_hundred_threads_exactly_as_many_get_through_as_there_are_probes(probes: int) -> None:
    for _ in range(20):
        watched = Watched(half_open_probes=probes)
        watched.open()
        through: list[Permit | None] = []
        start = Barrier(100)

        def knock(
            watched: Watched = watched, through: list[Permit | None] = through, start: Barrier = start
        ) -> None:
            start.wait()
            through.append(watched.breaker.try_acquire(watched.clock.now()))

        run([knock] * 100)
        assert len(through) == 100
        assert sum(permit is not None for permit in through) == probes


async def test_of_a_thousand_tasks_exactly_one_gets_through_at_a_time() -> None:
    watched = Watched()
    watched.open()
    backend = 0
    under_way = most = 0

    async def knock() -> None:
        nonlocal backend, under_way, most
        permit = watched.breaker.try_acquire(watched.clock.now())
        if permit is None:
            return
        backend += 1
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        watched.breaker.record(permit, Verdict.ABANDONED, watched.clock.now())

    await asyncio.gather(*(knock() for _ in range(1000)))
    assert backend == 1
    await asyncio.gather(*(knock() for _ in range(1000)))
    assert backend == 2
    assert most == 1


@pytest.mark.parametrize("verdict", SAYS_NOTHING)
def test_a_probe_that_says_nothing_frees_its_place(verdict: Verdict) -> None:
    watched = Watched()
    watched.open()
    for _ in range(100):
        probe = watched.permit()
        assert watched.refused()
        watched.breaker.record(probe, verdict, watched.clock.now())
        assert watched.state is HALF_OPEN
    watched.call(OK)
    assert watched.state is CLOSED


def test_an_answered_probe_closes_it() -> None:
    watched = Watched()
    watched.open()
    watched.call(OK)
    assert watched.told[-1][:3] == (HALF_OPEN, CLOSED, "the probe was answered")
    assert watched.breaker.open_until == 0.0
    assert not watched.refused()
    assert not watched.permit().probe


@pytest.mark.parametrize("verdict", [TRANSIENT, CONFIG])
def test_a_failed_probe_opens_it_again(verdict: Verdict) -> None:
    watched = Watched()
    watched.open()
    watched.call(verdict)
    reason = "misconfigured" if verdict is Verdict.CONFIG else "the probe failed"
    assert watched.told[-1][:3] == (HALF_OPEN, OPEN, reason)
    assert watched.refused()


def test_all_of_several_probes_must_be_answered() -> None:
    watched = Watched(half_open_probes=3)
    watched.open()
    probes = [watched.permit() for _ in range(3)]
    assert watched.refused()
    watched.breaker.record(probes[0], OK, watched.clock.now())
    assert watched.refused()  # an answered one holds its place: exactly three are asked
    watched.breaker.record(probes[1], Verdict.ABANDONED, watched.clock.now())
    again = watched.permit()
    watched.breaker.record(probes[2], OK, watched.clock.now())
    assert watched.state is HALF_OPEN
    watched.breaker.record(again, OK, watched.clock.now())
    assert watched.state is CLOSED


def test_one_failed_probe_of_several_opens_it() -> None:
    watched = Watched(half_open_probes=3)
    watched.open()
    probes = [watched.permit() for _ in range(3)]
    watched.breaker.record(probes[0], OK, watched.clock.now())
    watched.breaker.record(probes[1], TRANSIENT, watched.clock.now())
    assert watched.state is OPEN
    until = watched.breaker.open_until
    watched.breaker.record(probes[2], TRANSIENT, watched.clock.now())
    assert watched.breaker.open_until == until


def test_probes_answered_in_an_earlier_half_open_do_not_count_in_the_next() -> None:
    watched = Watched(half_open_probes=2)
    watched.open()
    watched.call(OK)
    watched.call(TRANSIENT)
    watched.clock.advance(100.0)
    watched.call(OK)
    assert watched.state is HALF_OPEN
    watched.call(OK)
    assert watched.state is CLOSED


def test_a_probe_that_never_reports_expires() -> None:
    watched = Watched()
    watched.open()
    lost = watched.permit()
    watched.clock.advance(PROBE_EXPIRES - 0.1)
    assert watched.refused()
    watched.clock.advance(0.1)
    other = watched.permit()
    assert watched.refused()
    watched.breaker.record(lost, TRANSIENT, watched.clock.now())
    assert watched.state is HALF_OPEN  # its place is another's by now
    watched.breaker.record(lost, OK, watched.clock.now())
    assert watched.state is HALF_OPEN
    watched.breaker.record(other, OK, watched.clock.now())
    assert watched.state is CLOSED


def test_a_probe_reported_twice_frees_one_place() -> None:
    watched = Watched()
    watched.open()
    probe = watched.permit()
    watched.breaker.record(probe, Verdict.ABANDONED, watched.clock.now())
    other = watched.permit()
    watched.breaker.record(probe, Verdict.ABANDONED, watched.clock.now())
    assert watched.refused()
    watched.breaker.record(other, OK, watched.clock.now())
    assert watched.state is CLOSED


# -- by hand -------------------------------------------------------------------------------------


def test_forced_open_refuses_for_ever() -> None:
    watched = Watched()
    watched.breaker.force_open()
    watched.clock.advance(1e9)
    assert watched.refused()
    assert watched.state is FORCED_OPEN
    assert watched.breaker.open_until == 0.0
    assert watched.told == [(CLOSED, FORCED_OPEN, "forced open", 1000.0)]


def test_results_of_calls_under_way_do_not_end_a_forced_break() -> None:
    watched = Watched()
    early = watched.permit()
    watched.breaker.force_open()
    watched.breaker.record(early, OK, watched.clock.now())
    assert watched.state is FORCED_OPEN


def test_a_probe_under_way_does_not_end_a_forced_break() -> None:
    watched = Watched()
    watched.open()
    probe = watched.permit()
    watched.breaker.force_open()
    watched.breaker.record(probe, OK, watched.clock.now())
    assert watched.state is FORCED_OPEN


@pytest.mark.parametrize("way", ["force_close", "reset"])
def test_closing_by_hand_forgets_and_may_open_again(way: str) -> None:
    watched = Watched()
    watched.open()
    watched.call(TRANSIENT)
    getattr(watched.breaker, way)()
    assert watched.state is CLOSED
    assert watched.told[-1][2] == {"force_close": "forced closed", "reset": "reset"}[way]
    assert watched.breaker.open_until == 0.0
    watched.call(TRANSIENT, times=4)
    assert watched.state is CLOSED
    watched.call(TRANSIENT)
    assert watched.state is OPEN
    assert watched.breaker.open_until - watched.clock.now() == 5.0  # the growth is forgotten too


def test_resetting_a_closed_circuit_forgets_its_failures_and_tells_nobody() -> None:
    watched = Watched()
    watched.call(TRANSIENT, times=4)
    watched.breaker.reset()
    watched.call(TRANSIENT, times=4)
    assert watched.state is CLOSED
    assert watched.told == []


def test_disabled_it_admits_everything_and_counts_nothing() -> None:
    watched = Watched()
    watched.breaker.disable()
    watched.call(TRANSIENT, times=100)
    watched.call(CONFIG, times=100)
    assert watched.state is DISABLED
    assert watched.breaker.counts(watched.clock.now()) == (0, 0, 0)
    watched.breaker.reset()
    assert watched.state is CLOSED
    assert [after for _, after, _, _ in watched.told] == [DISABLED, CLOSED]


def test_with_metrics_only_it_counts_and_never_opens() -> None:
    watched = Watched(slow_call_seconds=1.0)
    watched.breaker.metrics_only()
    watched.call(TRANSIENT, times=50)
    watched.call(CONFIG, times=50)
    watched.call(OK, times=50, seconds=5.0)
    assert watched.state is METRICS_ONLY
    assert watched.breaker.counts(watched.clock.now()) == (150, 100, 50)
    assert watched.told[-1][2] == "metrics only"


def test_a_circuit_set_by_hand_while_somebody_knocks_admits_by_its_new_state() -> None:
    """Whoever saw it open and waited for the lock must not go by what it saw."""
    watched = Watched()
    watched.call(TRANSIENT, times=5)
    breaker, gate = watched.breaker, watched.breaker._lock
    got: list[Permit | None] = []
    gate.acquire()
    knocker = Thread(target=lambda: got.append(breaker.try_acquire(1000.0)))
    knocker.start()
    breaker._enter(CLOSED, "by hand", 1000.0)  # what `force_close` does while it holds the lock
    gate.release()
    knocker.join()
    assert got != [None]


# -- clocks and reprs ----------------------------------------------------------------------------


def test_a_clock_that_jumps_back_neither_opens_nor_closes_anything() -> None:
    watched = Watched()
    watched.call(TRANSIENT, times=4)
    watched.clock.advance(-500.0)
    watched.call(OK, times=20)
    assert watched.state is CLOSED
    watched.clock.advance(500.0)
    watched.open()
    watched.clock.advance(-500.0)
    assert watched.refused()
    assert watched.state is OPEN
    watched.clock.advance(500.0)
    watched.call(OK)
    assert watched.state is CLOSED


def test_a_clock_that_jumps_far_ahead_lets_one_probe_through() -> None:
    watched = Watched()
    watched.call(TRANSIENT, times=5)
    watched.clock.advance(1e8)
    probe = watched.permit()
    assert watched.refused()
    watched.clock.advance(-1e8)
    assert watched.refused()
    watched.breaker.record(probe, OK, watched.clock.now())
    assert watched.state is CLOSED


def test_its_repr_tells_the_state() -> None:
    watched = Watched(half_open_probes=1)
    assert repr(watched.breaker) == "<CircuitBreaker closed>"
    watched.call(OK)
    watched.call(TRANSIENT)
    assert repr(watched.breaker) == "<CircuitBreaker closed, 1 of 2 failed>"
    watched.call(TRANSIENT, times=4)
    assert repr(watched.breaker) == "<CircuitBreaker open, 5 failures in a row, probes in 5.0 s>"
    watched.clock.advance(2.6)
    assert repr(watched.breaker) == "<CircuitBreaker open, 5 failures in a row, probes in 2.4 s>"
    watched.clock.advance(100.0)
    assert repr(watched.breaker) == "<CircuitBreaker open, 5 failures in a row, probes in 0.0 s>"
    watched.permit()
    assert repr(watched.breaker) == "<CircuitBreaker half_open, 1 of 1 probes under way>"
    for act, text in [
        (watched.breaker.force_open, "forced_open"),
        (watched.breaker.disable, "disabled"),
        (watched.breaker.metrics_only, "metrics_only"),
    ]:
        act()
        assert repr(watched.breaker) == f"<CircuitBreaker {text}>"


def test_it_works_without_a_listener_or_a_seed() -> None:
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), FakeClock(1000.0))
    permit = breaker.try_acquire(1000.0)
    assert permit is not None
    breaker.record(permit, TRANSIENT, 1000.0)
    assert breaker.state is OPEN
    assert 1002.5 <= breaker.open_until <= 1005.0


def test_a_listener_may_ask_the_breaker_and_change_it() -> None:
    """It is told after the lock is released."""
    clock = FakeClock(1000.0)
    seen: list[str] = []

    def changed(change: BreakerChanged) -> None:
        seen.append(repr(breaker))
        if change.state == OPEN:
            breaker.force_close()

    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), clock, rng=Most(), on_change=changed)
    permit = breaker.try_acquire(1000.0)
    assert permit is not None
    breaker.record(permit, TRANSIENT, 1000.0)
    assert seen == ["<CircuitBreaker open, 1 failures in a row, probes in 5.0 s>", "<CircuitBreaker closed>"]
