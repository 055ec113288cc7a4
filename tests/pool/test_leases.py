"""A lease is a claim on one member, given back exactly once, whatever happens."""

from __future__ import annotations

from contextlib import suppress
from math import inf, nan
from random import Random
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.call import Outcome, Request, Usage, Verdict
from langchain_cluster.model.endpoint import Capacity, Endpoint, Role
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.pool.members import BLOCKS, DECAY, LONG_ANSWER, LONGEST
from langchain_cluster.pool.pool import PENALTY
from tests.pool.watched import Watched


def test_a_lease_counts_as_in_flight_until_it_is_settled() -> None:
    watched = Watched("a")
    lease = watched.pool.acquire()
    assert watched["a"].in_flight == 1
    other = watched.pool.acquire()
    assert watched["a"].in_flight == 2
    lease.settle(Outcome.ok())
    other.settle(Outcome.failed())
    assert watched["a"].in_flight == 0
    assert (watched["a"].served, watched["a"].failed) == (1, 1)


def test_leaving_the_block_unsettled_abandons_it() -> None:
    watched = Watched("a")
    with watched.pool.acquire() as lease:
        assert not lease.settled
    assert lease.settled
    assert watched["a"].in_flight == 0
    assert (watched["a"].served, watched["a"].failed) == (0, 0)


def test_leaving_by_an_exception_blames_nobody() -> None:
    watched = Watched("a")
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt), watched.pool.acquire():
            raise KeyboardInterrupt
    assert watched["a"].in_flight == 0
    assert watched["a"].breaker_state is BreakerState.CLOSED
    assert watched["a"].breaker.counts(1000.0) == (0, 0, 0)


def test_a_settled_lease_leaves_its_block_as_it_is() -> None:
    watched = Watched("a")
    with watched.pool.acquire() as lease:
        lease.settle(Outcome.ok())
    assert watched["a"].in_flight == 0
    assert watched["a"].served == 1


def test_settling_twice_is_an_error_and_counts_once() -> None:
    watched = Watched("a")
    lease = watched.pool.acquire()
    lease.settle(Outcome.ok())
    with pytest.raises(RuntimeError, match="the lease on a is settled already"):
        lease.settle(Outcome.failed())
    assert watched["a"].in_flight == 0
    assert (watched["a"].served, watched["a"].failed) == (1, 0)


def test_a_lease_may_be_settled_from_another_thread() -> None:
    watched = Watched("a")
    lease = watched.pool.acquire()
    thread = Thread(target=lease.settle, args=(Outcome.ok(),))
    thread.start()
    thread.join()
    assert lease.settled
    assert watched["a"].in_flight == 0


def test_of_many_threads_that_settle_one_lease_one_succeeds() -> None:
    watched = Watched("a")
    lease, refused = watched.pool.acquire(), []

    def settle() -> None:
        try:
            lease.settle(Outcome.failed())
        except RuntimeError:
            refused.append(1)

    threads = [Thread(target=settle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert (watched["a"].in_flight, watched["a"].failed) == (0, 1)


def test_a_lease_knows_its_endpoint_and_when_it_began() -> None:
    watched = Watched("a")
    lease = watched.pool.acquire()
    assert (lease.endpoint.id, lease.started, lease.probe) == ("a", 1000.0, False)
    assert lease.member is watched["a"]
    assert repr(lease) == "<Lease on a, held>"
    lease.settle(Outcome.ok())
    assert repr(lease) == "<Lease on a, settled>"
    later = watched.pool.acquire(now=1234.0)
    assert later.started == 1234.0


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_faults_of_the_endpoint_are_held_against_it(verdict: Verdict) -> None:
    watched = Watched("a")
    watched.call("a", Outcome(verdict, seconds=0.1))
    member = watched["a"]
    blamed = verdict in (Verdict.TRANSIENT, Verdict.CONFIG)
    assert member.failed == blamed
    assert member.served == (verdict is Verdict.OK)
    assert member.breaker.state is (BreakerState.OPEN if verdict is Verdict.CONFIG else BreakerState.CLOSED)
    assert (member.cooling_until > 1000.0) == (verdict is Verdict.THROTTLED)
    assert (member.ewma_seconds > 0) == (blamed or verdict is Verdict.OK)
    assert member.in_flight == 0


# -- what is learned of an answer ------------------------------------------------------------------


def test_a_long_answer_counts_as_its_first_hundred_tokens() -> None:
    watched = Watched("a", "b")
    watched.call("a", Outcome.ok(seconds=20.0, usage=Usage(10, 1000)))
    assert watched["a"].ewma_seconds == pytest.approx(20.0 * LONG_ANSWER / 1000)
    watched.call("b", Outcome.ok(seconds=20.0, usage=Usage(10, 100)))
    assert watched["b"].ewma_seconds == 20.0


def test_tokens_are_added_up() -> None:
    watched = Watched("a")
    watched.call("a", Outcome.ok(seconds=1.0, usage=Usage(10, 30)))
    watched.call("a", Outcome.ok(seconds=1.0, first_token_seconds=0.1, usage=Usage(10, 12)))
    watched.call("a", Outcome.ok(seconds=1.0))
    assert watched["a"].tokens == 42


def test_a_failure_that_is_fast_does_not_look_fast() -> None:
    watched = Watched("a")
    watched.call("a", Outcome.ok(seconds=0.1))
    watched.call("a", Outcome.failed(seconds=0.001))
    assert watched["a"].ewma_seconds == PENALTY
    watched.call("a", Outcome.failed(seconds=30.0))
    assert watched["a"].ewma_seconds == 30.0
    watched.call("a", Outcome.failed(seconds=1.0))
    assert watched["a"].ewma_seconds == 30.0


@pytest.mark.parametrize("slow", [Outcome.ok(seconds=BLOCKS), Outcome.failed(seconds=BLOCKS)])
def test_a_model_that_blocks_once_is_no_longer_run_in_place(slow: Outcome) -> None:
    watched = Watched("a")
    watched.call("a", Outcome.ok(seconds=0.0), times=100)
    assert watched["a"].in_place(watched.clock.now())
    watched.call("a", slow)
    assert not watched["a"].in_place(watched.clock.now())


def test_a_model_that_hangs_in_one_call_is_not_run_in_place_for_another() -> None:
    watched = Watched("a")
    watched.call("a", Outcome.ok(seconds=0.0), times=100)
    with watched.pool.acquire():
        assert watched["a"].in_place(watched.clock.now())
        watched.clock.advance(BLOCKS)
        assert not watched["a"].in_place(watched.clock.now())


def test_a_penalty_may_be_chosen_with_the_lease() -> None:
    watched = Watched("a")
    watched.pool.acquire(penalty=25.0).settle(Outcome.failed(seconds=0.1))
    assert watched["a"].ewma_seconds == 25.0


def test_a_probe_that_is_answered_makes_the_old_average_history() -> None:
    watched = Watched("a")
    watched.call("a", Outcome.failed(seconds=60.0), times=5)
    assert watched["a"].ewma_seconds == 60.0
    watched.clock.advance(5.0)
    lease = watched.pool.acquire()
    assert lease.probe
    lease.settle(Outcome.ok(seconds=0.2))
    assert watched["a"].ewma_seconds == 0.2
    assert watched["a"].ewma_at == watched.clock.now()


@pytest.mark.parametrize("seconds", [nan, -5.0, inf, 1e308])
def test_a_time_that_is_none_does_not_spoil_the_average(seconds: float) -> None:
    watched = Watched("a")
    watched.call("a", Outcome.ok(seconds=1.0))
    watched.call("a", Outcome.ok(seconds=seconds))
    assert 1.0 <= watched["a"].ewma_seconds <= LONGEST
    watched.call("a", Outcome.failed(seconds=seconds))
    assert 1.0 <= watched["a"].ewma_seconds <= LONGEST
    watched.clock.advance(20 * DECAY)
    watched.call("a", Outcome.ok(seconds=1.0))
    assert watched["a"].ewma_seconds == pytest.approx(1.0, abs=0.01)
    assert watched.pool.typical_for(Role.LLM) == pytest.approx(0.0975)
    assert watched["a"].served == 3


def test_what_is_no_outcome_leaves_the_lease_held() -> None:
    watched = Watched("a", breaker=BreakerPolicy(consecutive_failures=1))
    watched.call("a", Outcome.failed())
    watched.clock.advance(5.0)
    with watched.pool.acquire() as lease:
        assert lease.probe
        for nonsense in (None, "ok", Verdict.OK):
            with pytest.raises(TypeError, match="is not an Outcome"):
                lease.settle(nonsense)  # type: ignore[arg-type]
        assert (lease.settled, watched["a"].in_flight) == (False, 1)
    with watched.pool.acquire() as lease:
        assert lease.probe  # the first one's place was given back


def test_one_id_may_be_excluded_without_a_list() -> None:
    pool = Watched("gpu-1", "gpu-10").pool
    for _ in range(5):
        with pool.acquire(exclude="gpu-10") as lease:
            assert lease.endpoint.id == "gpu-1"


def test_a_clock_that_went_back_does_not_make_an_average_grow() -> None:
    watched = Watched("a")
    watched.call("a", Outcome.ok(seconds=10.0))
    watched.clock.advance(-900.0)
    watched.call("a", Outcome.ok(seconds=1.0))
    assert watched["a"].ewma_seconds == 10.0


# -- many at once ----------------------------------------------------------------------------------


def test_eight_threads_leave_nothing_in_flight() -> None:
    watched = Watched("a", "b", Endpoint("c", capacity=Capacity(max_connections=2)), balancer="peak_ewma")
    lowest = []

    def call(seed: int) -> None:
        rng = Random(seed)
        for _ in range(1_000):
            lease = watched.pool.acquire()
            lowest.append(lease.member.in_flight)
            chance = rng.random()
            if chance < 0.8:
                lease.settle(Outcome.ok(seconds=0.1))
            elif chance < 0.9:
                lease.settle(Outcome.throttled(0.0))
            else:
                lease.settle(Outcome.abandoned())

    threads = [Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(lowest) >= 0
    assert [m.in_flight for m in watched.pool] == [0, 0, 0]
    assert 6_000 < sum(m.served for m in watched.pool) < 6_800


def test_eight_threads_share_exactly_by_round_robin() -> None:
    watched = Watched(*"abcde", balancer="round_robin")

    def call() -> None:
        for _ in range(500):
            watched.pool.acquire().settle(Outcome.ok(seconds=0.1))

    threads = [Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [m.served for m in watched.pool] == [800] * 5


def test_no_endpoint_is_given_more_calls_than_it_bears() -> None:
    watched = Watched(Endpoint("a", capacity=Capacity(max_connections=3)), "b")
    held = [watched.pool.acquire() for _ in range(40)]
    assert watched["a"].in_flight == 3
    assert watched["b"].in_flight == 37
    next(lease for lease in held if lease.endpoint.id == "a").settle(Outcome.ok())
    assert "a" in {watched.pool.acquire().endpoint.id for _ in range(2)}


def test_when_all_are_full_nobody_is_available_and_nobody_knows_for_how_long() -> None:
    watched = Watched(Endpoint("a", capacity=Capacity(max_connections=1)))
    with watched.pool.acquire(), pytest.raises(NoEndpointAvailable) as caught:
        watched.pool.acquire()
    assert caught.value.why == {"a": "at its limit of 1 calls"}
    assert caught.value.retry_after is None
    assert watched.pool.acquire() is not None


def test_a_full_endpoint_does_not_keep_a_probe_it_cannot_take() -> None:
    watched = Watched(Endpoint("a", capacity=Capacity(max_connections=1)))
    with watched.pool.acquire():
        watched["a"].breaker._open(1000.0)
        watched.pool._publish(1000.0)
        watched.clock.advance(10.0)
        for _ in range(3):
            with pytest.raises(NoEndpointAvailable):
                watched.pool.acquire()
    assert watched.pool.acquire().probe


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "settle", "wait"]), st.integers(0, 50), st.sampled_from(list(Verdict))
        ),
        max_size=80,
    )
)
def test_in_flight_is_always_the_number_of_leases_held(steps: list[tuple[str, int, Verdict]]) -> None:
    watched = Watched("a", Endpoint("b", capacity=Capacity(max_connections=2)), "c", balancer="power_of_two")
    held = []
    for act, which, verdict in steps:
        if act == "acquire":
            with suppress(NoEndpointAvailable):
                held.append(watched.pool.acquire(Request()))
        elif act == "settle" and held:
            held.pop(which % len(held)).settle(Outcome(verdict, seconds=0.1))
        elif act == "wait":
            watched.clock.advance(which / 5)
        for member in watched.pool:
            assert member.in_flight == sum(lease.member is member for lease in held)
        assert watched["b"].in_flight <= 2
