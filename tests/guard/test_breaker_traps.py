"""The traps that well-known breakers fell into, under threads, tasks, and clocks that jump."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from math import inf, nan
from random import Random
from threading import Barrier, Event, Lock, Thread

import pytest

from langchain_cluster import BreakerPolicy, CircuitBreaker, CircuitOpen, Verdict
from langchain_cluster.model.events import BreakerChanged
from langchain_cluster.testing.clock import FakeClock

OK, TRANSIENT = Verdict.OK, Verdict.TRANSIENT


class Most(Random):
    """Chance that always gives the most: equal jitter makes no difference."""

    def random(self) -> float:
        return 1.0


def run(work: Callable[[], object], threads: int) -> None:
    """Run it on so many threads, which begin together."""
    start = Barrier(threads)

    def begin() -> None:
        start.wait()
        work()

    running = [Thread(target=begin) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def half_open(probes: int = 1, **policy: float) -> tuple[CircuitBreaker, FakeClock]:
    """A breaker whose probe is due."""
    clock = FakeClock(1000.0)
    breaker = CircuitBreaker(
        BreakerPolicy(consecutive_failures=1, half_open_probes=probes, **policy),  # type: ignore[arg-type]
        clock,
        rng=Most(),
    )
    with pytest.raises(ConnectionError), breaker:
        raise ConnectionError
    clock.advance(breaker.open_until - 1000.0)
    return breaker, clock


# -- exactly N -----------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [1, 3])
def test_of_a_hundred_threads_exactly_as_many_reach_the_backend_as_probes_are_allowed(probes: int) -> None:
    """A hundred rounds; the backend answers only when all the others have been refused."""
    for _ in range(100 if probes == 1 else 20):
        breaker, _ = half_open(probes)
        asked: list[None] = []
        refused: list[float | None] = []
        all_refused = Event()

        def backend(asked: list[None] = asked, gate: Event = all_refused) -> None:
            asked.append(None)
            assert gate.wait(10)

        guarded = breaker(backend)

        def knock(
            guarded: Callable[[], None] = guarded,
            refused: list[float | None] = refused,
            gate: Event = all_refused,
        ) -> None:
            try:
                guarded()
            except CircuitOpen as error:
                refused.append(error.retry_after)
                if len(refused) == 100 - probes:
                    gate.set()

        run(knock, 100)
        assert (len(asked), len(refused)) == (probes, 100 - probes)
        assert breaker.state == "closed"


@pytest.mark.parametrize("probes", [1, 5])
async def test_of_a_thousand_tasks_exactly_as_many_reach_the_backend(probes: int) -> None:
    for _ in range(100 if probes == 1 else 20):
        breaker, _ = half_open(probes)
        asked = refused = 0
        all_refused = asyncio.Event()

        @breaker
        async def backend(gate: asyncio.Event = all_refused) -> None:
            nonlocal asked
            asked += 1
            await gate.wait()

        async def knock(guarded: Callable[[], object] = backend, gate: asyncio.Event = all_refused) -> None:
            nonlocal refused
            try:
                await guarded()  # type: ignore[misc]
            except CircuitOpen:
                refused += 1
                if refused == 1000 - probes:
                    gate.set()

        await asyncio.gather(*(knock() for _ in range(1000)))
        assert (asked, refused) == (probes, 1000 - probes)
        assert breaker.state == "closed"


# -- the lock is not held during the call --------------------------------------------------------


def test_eight_calls_are_inside_at_the_same_time() -> None:
    """They wait for each other inside: were the lock held, none would ever leave."""
    together = Barrier(8)
    breaker = CircuitBreaker(clock=FakeClock())
    guarded = breaker(lambda: together.wait(10))
    run(guarded, 8)
    assert not together.broken
    assert breaker.counts(1000.0) == (8, 0, 0)


def test_a_listener_is_told_while_nobody_holds_the_lock() -> None:
    def changed(change: BreakerChanged) -> None:
        helper = Thread(target=breaker.counts, args=(1000.0,))
        helper.start()
        helper.join(10)
        told.append(not helper.is_alive())

    told: list[bool] = []
    breaker = CircuitBreaker(clock=FakeClock(), on_change=changed)
    breaker.force_open()
    breaker.try_acquire(1000.0)
    breaker.reset()
    assert told == [True, True]


# -- stale results -------------------------------------------------------------------------------


def test_a_stale_success_neither_closes_nor_counts_and_a_stale_failure_does_not_extend() -> None:
    clock = FakeClock(1000.0)
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=2, half_open_probes=2), clock, rng=Most())
    early = [breaker.acquire(1000.0) for _ in range(4)]
    for permit in early[:2]:
        breaker.record(permit, TRANSIENT, 1000.0)
    until = breaker.open_until
    breaker.record(early[2], TRANSIENT, 1004.0)
    breaker.record(early[3], OK, 1004.0)
    assert (breaker.state, breaker.open_until) == ("open", until)
    probe = breaker.acquire(1005.0)
    breaker.record(early[2], OK, 1005.0)
    breaker.record(early[3], TRANSIENT, 1005.0)
    assert breaker.state == "half_open"
    breaker.record(probe, OK, 1005.0)
    breaker.record(early[2], OK, 1005.0)
    assert breaker.state == "half_open"  # one answer is still missing, and the stale one is none
    breaker.record(breaker.acquire(1005.0), OK, 1005.0)
    breaker.record(early[3], TRANSIENT, 1005.0)
    breaker.record(early[2], OK, 1005.0)
    assert (breaker.state, breaker.counts(1005.0)) == ("closed", (0, 0, 0))


# -- lost probes ---------------------------------------------------------------------------------


def test_a_lost_probe_frees_its_slot_when_its_policy_says() -> None:
    breaker, clock = half_open(probe_expires=10.0)
    assert breaker.try_acquire(clock.now()) is not None  # and it never reports
    clock.advance(9.9)
    assert breaker.try_acquire(clock.now()) is None
    clock.advance(0.2)
    probe = breaker.acquire(clock.now())
    breaker.record(probe, OK, clock.now())
    assert breaker.state == "closed"


# -- listeners -----------------------------------------------------------------------------------


def test_one_open_event_however_many_threads_fail_together() -> None:
    for _ in range(50):
        told: list[BreakerChanged] = []
        breaker = CircuitBreaker(clock=FakeClock(), on_change=told.append, name="x")
        together = Barrier(32)

        def backend(together: Barrier = together) -> None:
            together.wait(10)
            raise ConnectionError

        guarded = breaker(backend)

        def fail(guarded: Callable[[], None] = guarded) -> None:
            with pytest.raises(ConnectionError):
                guarded()

        run(fail, 32)
        assert told == [BreakerChanged(1000.0, "x", "open", "closed", "5 failures in a row")]


def test_transitions_are_told_in_order_though_many_threads_make_them() -> None:
    told: list[BreakerChanged] = []
    breaker = CircuitBreaker(clock=FakeClock(), on_change=told.append)

    def work() -> None:
        for _ in range(50):
            breaker.force_open()
            breaker.reset()
            breaker.metrics_only()
            breaker.disable()

    run(work, 8)
    assert len(told) > 100
    state = "closed"
    for change in told:
        assert change.before == state != change.state
        state = change.state
    assert state == breaker.state


def test_news_that_comes_while_somebody_tells_is_told_by_them_and_only_once() -> None:
    telling, go_on, told = Event(), Event(), []
    breaker = CircuitBreaker(clock=FakeClock())

    def changed(change: BreakerChanged) -> None:
        told.append(change.state)
        telling.set()
        assert go_on.wait(10)

    breaker.subscribe(changed)
    teller = Thread(target=breaker.force_open)
    teller.start()
    assert telling.wait(10)
    breaker.reset()  # returns at once
    assert told == ["forced_open"]
    go_on.set()
    teller.join(10)
    assert told == ["forced_open", "closed"]


def test_several_listeners_hear_it_until_they_unsubscribe() -> None:
    first: list[str] = []
    second: list[str] = []
    breaker = CircuitBreaker(clock=FakeClock(), on_change=lambda change: first.append(change.state))
    leave = breaker.subscribe(lambda change: second.append(change.state))
    breaker.force_open()
    leave()
    leave()
    breaker.reset()
    assert (first, second) == (["forced_open", "closed"], ["forced_open"])


def test_a_listener_that_raises_is_a_warning_and_fails_no_call() -> None:
    told: list[str] = []

    def broken(change: BreakerChanged) -> None:
        raise LookupError("a mistake in the listener")

    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), FakeClock(), on_change=broken)
    breaker.subscribe(lambda change: told.append(change.state))
    with (
        pytest.warns(RuntimeWarning, match="a mistake in the listener"),
        pytest.raises(ConnectionError),
        breaker,
    ):
        raise ConnectionError
    assert told == ["open"]


def test_a_listener_that_is_interrupted_lets_the_next_transition_be_told() -> None:
    told: list[str] = []

    def interrupted(change: BreakerChanged) -> None:
        told.append(change.state)
        if change.state == "forced_open":
            raise KeyboardInterrupt

    breaker = CircuitBreaker(clock=FakeClock(), on_change=interrupted)
    with pytest.raises(KeyboardInterrupt):
        breaker.force_open()
    breaker.reset()
    assert told == ["forced_open", "closed"]


# -- clocks that jump ----------------------------------------------------------------------------


@pytest.mark.parametrize("time", [nan, inf, -inf])
def test_a_time_that_is_none_counts_as_the_last_that_was(time: float) -> None:
    told: list[BreakerChanged] = []
    breaker = CircuitBreaker(BreakerPolicy(), FakeClock(), rng=Most(), on_change=told.append)
    breaker.record(breaker.acquire(1000.0), OK, 1000.0)
    for _ in range(5):
        breaker.record(breaker.acquire(time), OK, time)
    assert breaker.counts(time) == breaker.counts(1000.0) == (6, 0, 0)
    for _ in range(5):
        breaker.record(breaker.acquire(time), TRANSIENT, time)
    assert (breaker.state, breaker.open_until, told[0].at) == ("open", 1005.0, 1000.0)
    assert breaker.try_acquire(time) is None
    assert breaker.try_acquire(1004.9) is None
    assert breaker.try_acquire(1005.0) is not None
    assert breaker.try_acquire(time) is None  # the probe is still under way
    assert breaker.try_acquire(1065.0) is not None  # and has expired a minute later


@pytest.mark.parametrize("time", [nan, inf, -inf])
def test_a_clock_that_tells_no_time_at_all_still_counts_failures_in_a_row(time: float) -> None:
    clock = FakeClock(time)
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=3), clock)
    for _ in range(3):
        with pytest.raises(ConnectionError), breaker:
            raise ConnectionError
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen), breaker:
        pass
    breaker.reset()
    assert "closed" in repr(breaker)


@pytest.mark.parametrize("seconds", [nan, inf, -inf, -5.0])
def test_a_duration_that_is_none_is_slow_only_when_it_is_endless(seconds: float) -> None:
    breaker = CircuitBreaker(BreakerPolicy(slow_call_seconds=2.0), FakeClock())
    breaker.record(breaker.acquire(1000.0), OK, 1000.0, seconds)
    assert breaker.counts(1000.0) == (1, 0, int(seconds == inf))


def test_an_open_circuit_stays_open_no_longer_than_it_may_though_the_clock_goes_back() -> None:
    clock = FakeClock(1e6)
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1, max_open=60.0), clock, rng=Most())
    with pytest.raises(ConnectionError), breaker:
        raise ConnectionError
    clock.advance(-1e6 + 50)
    with pytest.raises(CircuitOpen) as refused, breaker:
        pass
    assert refused.value.retry_after == 60.0
    clock.advance(60.0)
    with breaker:
        pass
    assert breaker.state == "closed"


def test_a_probe_holds_its_place_no_longer_than_it_may_though_the_clock_goes_back() -> None:
    breaker, clock = half_open()
    clock.advance(1e6)
    lost = breaker.acquire(clock.now())
    clock.advance(-1e6)
    assert breaker.try_acquire(clock.now()) is None  # it may be under way
    clock.advance(59.9)
    assert breaker.try_acquire(clock.now()) is None
    clock.advance(0.1)
    assert breaker.try_acquire(clock.now()) is not None
    breaker.record(lost, OK, clock.now())
    assert breaker.state == "half_open"


def test_a_clock_that_jumps_ahead_ends_what_is_due_and_lets_one_probe_through() -> None:
    clock = FakeClock(1000.0)
    breaker = CircuitBreaker(clock=clock)
    for _ in range(4):
        with pytest.raises(ConnectionError), breaker:
            raise ConnectionError
    clock.advance(1e9)
    assert breaker.counts(clock.now()) == (0, 0, 0)  # the window has passed
    with pytest.raises(ConnectionError), breaker:
        raise ConnectionError
    assert breaker.state == "open"  # a row has no window
    clock.advance(1e9)
    assert breaker.try_acquire(clock.now()) is not None
    assert breaker.try_acquire(clock.now()) is None


def test_failures_of_a_future_that_did_not_come_are_not_counted() -> None:
    clock = FakeClock(1000.0)
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=None, min_calls=10), clock)
    clock.advance(1e6)
    for _ in range(9):
        breaker.record(breaker.acquire(clock.now()), TRANSIENT, clock.now())
    clock.advance(-1e6)
    for _ in range(9):
        breaker.record(breaker.acquire(clock.now()), TRANSIENT, clock.now())
    assert (breaker.state, breaker.counts(clock.now())) == ("closed", (9, 9, 0))


# -- answers without the lock --------------------------------------------------------------------


def test_no_answer_is_lost_among_threads() -> None:
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=None, min_calls=10**9), FakeClock())
    guarded = breaker(lambda: None)

    def work() -> None:
        for n in range(2000):
            if n % 100 == 99:
                breaker.record(breaker.acquire(1000.0), TRANSIENT, 1000.0)
            else:
                guarded()

    run(work, 8)
    assert breaker.counts(1000.0) == (16_000, 160, 0)


def test_answers_count_at_the_time_they_came_in() -> None:
    """They are taken over into the window later, and leave it with their own bucket."""
    breaker = CircuitBreaker(clock=FakeClock())
    for _ in range(5):
        breaker.record(breaker.acquire(1000.0), OK, 1000.0)
    for _ in range(3):
        breaker.record(breaker.acquire(1015.0), OK, 1015.0)
    assert breaker.counts(1020.0)[0] == 8
    assert breaker.counts(1031.0)[0] == 3
    assert breaker.counts(1046.0)[0] == 0


def test_a_stale_answer_counts_nowhere_and_ends_no_row() -> None:
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=2), FakeClock())
    stale = breaker.acquire(1000.0)
    breaker.reset()
    breaker.record(breaker.acquire(1000.0), TRANSIENT, 1000.0)
    breaker.record(stale, OK, 1000.0)
    assert breaker.counts(1000.0) == (1, 1, 0)
    breaker.record(breaker.acquire(1000.0), TRANSIENT, 1000.0)
    assert breaker.state == "open"


def test_answers_are_forgotten_with_the_state_they_came_in() -> None:
    breaker = CircuitBreaker(clock=FakeClock())
    for _ in range(5):
        breaker.record(breaker.acquire(1000.0), OK, 1000.0)
    breaker.reset()
    assert breaker.counts(1000.0) == (0, 0, 0)
    breaker.record(breaker.acquire(1000.0), OK, 1000.0)
    assert breaker.counts(1000.0) == (1, 0, 0)


def test_an_answer_takes_no_lock() -> None:
    breaker = CircuitBreaker(clock=FakeClock())
    guarded = breaker(lambda: "fine")
    guarded()  # which opens its bucket
    lock: Lock = breaker._lock
    with lock:
        assert guarded() == "fine"
        breaker.record(breaker.acquire(1000.0), OK, 1000.0)
    assert breaker.counts(1000.0) == (3, 0, 0)


def test_threads_that_do_everything_at_once_leave_it_usable() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        breaker, clock = half_open(2)
        acts = [breaker.force_open, breaker.reset, breaker.disable, breaker.metrics_only, breaker.force_close]

        def work() -> None:
            chance = Random()
            for _ in range(200):
                permit = breaker.try_acquire(clock.now())
                if permit is not None:
                    breaker.record(permit, chance.choice(list(Verdict)), clock.now(), 0.1)
                if chance.random() < 0.1:
                    chance.choice(acts)()
                clock.advance(chance.random())

        run(work, 8)
        breaker.reset()
        with breaker:
            pass
        assert breaker.counts(clock.now()) == (1, 0, 0)
