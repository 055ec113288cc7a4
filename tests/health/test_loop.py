"""The health loop, stepped by hand: who is due, what findings mean, who fell silent. No network, no wait."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from langchain_cluster import ConfigError, Endpoint, EndpointStatus, Load, NoEndpointAvailable, Pool
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.health import Health, HealthPolicy, HttpCheck, Periodic
from langchain_cluster.model.events import HealthChanged
from langchain_cluster.plan.effects import Probe, Sleep
from langchain_cluster.plan.health import LOOK, examine, limit_of
from langchain_cluster.testing import FakeClock

Answers = Callable[[Endpoint, float], Any]  # what a check finds and after how long: (finding, seconds)


class Never:
    """Stands for a check; the test answers in its place."""

    def check(self, endpoint: Endpoint) -> Health:
        raise AssertionError("a plan performs nothing")

    async def acheck(self, endpoint: Endpoint) -> Health:
        raise AssertionError("a plan performs nothing")


class Loop:
    """Drives the plan in virtual time."""

    def __init__(self, answers: Answers, *ids: str, seed: int = 7, **policy: Any) -> None:
        self.clock = FakeClock(0.0)
        self.events: list[Any] = []
        self.pool = Pool(map(Endpoint, ids or "abc"), clock=self.clock, emit=self.events.append)
        self.answers = answers
        self.policy = HealthPolicy(**policy)
        check = None if self.policy.check is None else Never()
        self.plan = examine(check, self.pool, self.policy, self.clock.now, Random(seed))
        self.effect: Any = next(self.plan)
        self.under_way: list[tuple[float, Endpoint, Any]] = []
        self.begun: list[tuple[float, str]] = []
        self.most = 0

    def run(self, seconds: float) -> None:
        end = self.clock.now() + seconds
        while self.step(end):
            pass

    def step(self, end: float) -> bool:
        now = self.clock.now()
        if isinstance(self.effect, Sleep):
            wake, found = now + self.effect.seconds, None
        else:
            assert isinstance(self.effect, Probe)
            for endpoint in self.effect.endpoints:
                finding, took = self.answers(endpoint, now)
                self.under_way.append((now + took, endpoint, finding))
                self.begun.append((now, endpoint.id))
            self.effect.endpoints = ()
            self.most = max(self.most, len(self.under_way))
            wake = min([now + self.effect.seconds, *(at for at, _, _ in self.under_way)])
            found = [(e, finding) for at, e, finding in self.under_way if at <= wake]
        if wake > end:
            self.clock.advance(end - now)
            return False
        self.clock.advance(wake - now)
        self.under_way = [item for item in self.under_way if item[0] > wake]
        self.effect = self.plan.send(found)
        return True

    def until(self, condition: Callable[[], bool], within: float) -> float:
        began = self.clock.now()
        while not condition():
            assert self.step(began + within), f"not within {within} s"
        return self.clock.now() - began

    def healthy(self, id: str) -> bool:
        return self.pool.snapshot.by_id[id].healthy

    def times(self, id: str) -> list[float]:
        return [at for at, who in self.begun if who == id]


def well(endpoint: Endpoint, now: float) -> Any:
    return Health(True, "200"), 0.01


def dead(id: str, since: float = 0.0, took: float = 0.01) -> Answers:
    def answers(endpoint: Endpoint, now: float) -> Any:
        if endpoint.id == id and now >= since:
            return Health(False, "refused"), took
        return well(endpoint, now)

    return answers


def script(**findings: str) -> Answers:
    """`+` a good check, `-` a failed one, in order; then good ones."""
    left = {id: list(marks) for id, marks in findings.items()}

    def answers(endpoint: Endpoint, now: float) -> Any:
        marks = left.get(endpoint.id)
        return Health(not marks or marks.pop(0) == "+", "scripted"), 0.01

    return answers


# -- the pace ---------------------------------------------------------------------------------------


def test_everybody_is_checked_at_an_even_pace_from_a_random_moment() -> None:
    loop = Loop(well, *map(str, range(50)), interval=2.0)
    loop.run(20.0)
    firsts = [loop.times(id)[0] for id in map(str, range(50))]
    assert len(loop.begun) == 500
    assert min(firsts) < 0.3
    assert 1.7 < max(firsts) <= 2.0
    for id in map(str, range(50)):
        times = loop.times(id)
        assert [b - a for a, b in pairwise(times)] == pytest.approx([2.0] * 9)


def test_chance_is_seeded_and_can_be_switched_off() -> None:
    def first(seed: int, jitter: float) -> list[float]:
        loop = Loop(well, seed=seed, jitter=jitter)
        loop.run(3.0)
        return [loop.times(id)[0] for id in "abc"]

    assert first(1, 1.0) == first(1, 1.0) != first(2, 1.0)
    assert first(1, 0.0) == first(2, 0.0) == [0.0, 0.0, 0.0]


def test_no_more_checks_at_a_time_than_allowed_and_nobody_starves() -> None:
    loop = Loop(lambda e, now: (Health(True), 0.5), *map(str, range(20)), concurrency=3, interval=2.5)
    loop.run(30.0)
    assert loop.most == 3
    counts = [len(loop.times(str(n))) for n in range(20)]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) >= 170  # 3 places for 30 s, half a second each: 180 at most


def test_a_slow_check_does_not_delay_the_others() -> None:
    def answers(endpoint: Endpoint, now: float) -> Any:
        return (Health(True), 1000.0) if endpoint.id == "a" else well(endpoint, now)

    loop = Loop(answers, "a", "b", "c", concurrency=1, interval=1.0, timeout=0.4)
    loop.run(20.0)
    assert len(loop.times("a")) == 1  # it is not asked again before the check has come back
    assert not loop.healthy("a")
    assert min(len(loop.times("b")), len(loop.times("c"))) >= 19
    assert loop.events[-1] == HealthChanged(loop.events[-1].at, "a", False, "no answer within 2.4 s")


def test_an_answer_that_comes_too_late_counts_as_the_failure_it_was() -> None:
    def answers(endpoint: Endpoint, now: float) -> Any:
        return Health(True, "late"), 1.5 if endpoint.id == "a" else 0.01

    loop = Loop(answers, "a", "b", interval=2.0, timeout=1.0, fall=3)
    loop.until(lambda: not loop.healthy("a"), 10.0)
    assert len(loop.times("a")) == 3
    loop.run(60.0)
    assert not loop.healthy("a")  # however good the answers are that nobody waits for any more


def test_who_left_is_not_checked_and_who_is_new_is_checked_soon() -> None:
    loop = Loop(well, "a", "b", interval=2.0)
    loop.run(10.0)
    loop.pool.replace([Endpoint("b"), Endpoint("new")])
    before, at = len(loop.times("a")), loop.clock.now()
    loop.run(20.0)
    assert len(loop.times("a")) == before
    assert loop.times("new")[0] - at <= LOOK + 2.0
    assert len(loop.times("b")) == 15  # the pace of a survivor does not change


def test_a_finding_about_somebody_who_left_is_dropped() -> None:
    loop = Loop(lambda e, now: (Health(False, "late"), 0.9), "a", "b", interval=1.0, fall=1, jitter=0.0)
    loop.run(0.5)
    loop.pool.replace([Endpoint("b"), Endpoint("c")])
    loop.run(0.45)
    assert [event.endpoint for event in loop.events if isinstance(event, HealthChanged)] == ["b"]
    loop.run(30.0)
    assert loop.most <= 3


def test_who_leaves_in_the_middle_of_a_check_leaves_its_place() -> None:
    def answers(endpoint: Endpoint, now: float) -> Any:
        return (Health(True), 1000.0) if endpoint.id == "a" else well(endpoint, now)

    loop = Loop(answers, "a", "b", interval=1.0, jitter=0.0, timeout=500.0, concurrency=1)
    loop.run(5.0)
    assert loop.times("b") == []
    loop.pool.remove("a")
    loop.run(5.0)
    assert len(loop.times("b")) >= 4


# -- what it means ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("took", [0.0, 1.0, 1000.0])  # refused; fails at its limit; hangs for ever
def test_with_the_defaults_a_dead_endpoint_is_out_within_ten_seconds(seed: int, took: float) -> None:
    died = 100.0 + seed * 0.37
    loop = Loop(dead("b", died, took), *map(str, range(9)), "b", seed=seed)
    loop.run(died)
    assert loop.healthy("b")
    assert loop.until(lambda: not loop.healthy("b"), 10.0) <= 8.5 + 1e-6
    assert Periodic(HttpCheck()).detects_within == 8.5


def test_the_defaults_hold_for_a_thousand_endpoints_of_which_a_hundred_hang() -> None:
    def answers(endpoint: Endpoint, now: float) -> Any:
        hangs = int(endpoint.id) < 100 and now >= 20.0
        return Health(not hangs, "hangs"), 1000.0 if hangs else 0.005

    loop = Loop(answers, *map(str, range(1000)))
    loop.run(20.0)
    loop.until(lambda: not any(loop.healthy(str(n)) for n in range(100)), 10.0)
    assert all(loop.healthy(str(n)) for n in range(100, 1000))


def test_flapping_is_damped() -> None:
    loop = Loop(script(a="--+" * 20, b="+-" * 30))
    loop.run(150.0)
    assert [event for event in loop.events if isinstance(event, HealthChanged)] == []


def test_it_falls_after_so_many_and_rises_after_so_many() -> None:
    loop = Loop(script(a="++---+--+-++"), interval=1.0, rise=2, fall=3, jitter=0.0)
    loop.run(30.0)
    changes = [(e.at // 1, e.healthy) for e in loop.events if isinstance(e, HealthChanged)]
    assert changes == [(4.0, False), (11.0, True)]


def test_when_all_fail_nobody_is_believed() -> None:
    loop = Loop(lambda e, now: (Health(False, "the network of the checker is down"), 0.01))
    loop.run(20.0)
    assert not any(loop.healthy(id) for id in "abc")
    assert len(loop.pool.snapshot.ready) == 3
    with loop.pool.acquire() as lease:
        assert lease.endpoint.id in "abc"


def test_when_one_fails_the_checks_are_believed() -> None:
    loop = Loop(lambda e, now: (Health(e.id != "b", "?"), 0.01))
    loop.run(20.0)
    assert [member.endpoint.id for member in loop.pool.snapshot.ready] == ["a", "c"]
    with pytest.raises(NoEndpointAvailable, match="health checks"):
        loop.pool.acquire(exclude=["a", "c"])


@pytest.mark.parametrize(
    ("finding", "reason"),
    [
        (ValueError("no such page"), "ValueError: no such page"),
        (SystemExit(), "SystemExit"),
        (None, "the check answered None, which is no Health"),
        (True, "the check answered True, which is no Health"),
    ],
)
def test_a_check_that_raises_or_answers_nonsense_has_failed(finding: Any, reason: str) -> None:
    loop = Loop(lambda e, now: (finding if e.id == "a" else Health(True), 0.01))
    loop.run(10.0)
    assert loop.events == [*loop.events[:3], HealthChanged(loop.events[-1].at, "a", False, reason)]
    assert len(loop.times("b")) >= 4  # and the loop goes on


def test_checks_are_no_calls_and_never_touch_the_breaker() -> None:
    loop = Loop(dead("a"))
    loop.run(100.0)
    for member in loop.pool:
        assert (member.served, member.failed, member.in_flight) == (0, 0, 0)
        assert member.breaker_state is BreakerState.CLOSED
        assert member.ewma_seconds == 0.0


def test_a_load_that_a_check_saw_is_reported() -> None:
    loop = Loop(lambda e, now: (Health(True, load=Load(connections=3, queued=1)), 0.01), "a")
    loop.run(10.0)
    member = loop.pool.snapshot.by_id["a"]
    assert member.load == Load(connections=3, queued=1)
    assert member.last_seen > 5.0


# -- heartbeats -------------------------------------------------------------------------------------


def beating(loop: Loop, seconds: int, *ids: str) -> None:
    for _ in range(seconds):
        for id in ids:
            loop.pool.heartbeat(id)
        loop.run(1.0)


def status(loop: Loop, id: str) -> EndpointStatus:
    return loop.pool.snapshot.by_id[id].status


def test_who_falls_silent_is_offline_and_the_next_heartbeat_brings_it_back() -> None:
    loop = Loop(well, check=None, heartbeat_timeout=10.0)
    loop.run(1.0)
    beating(loop, 5, "a", "b")
    beating(loop, 9, "b")
    assert status(loop, "a") is EndpointStatus.ONLINE
    beating(loop, 3, "b")
    assert status(loop, "a") is EndpointStatus.OFFLINE
    assert status(loop, "c") is EndpointStatus.ONLINE  # it never sent one
    loop.pool.heartbeat("a")
    loop.run(2 * LOOK)
    assert status(loop, "a") is EndpointStatus.ONLINE


def test_who_was_busy_is_busy_again_and_who_was_drained_stays_so() -> None:
    loop = Loop(well, check=None, heartbeat_timeout=5.0)
    loop.run(1.0)
    beating(loop, 1, "a", "b")
    loop.pool.set_status("a", EndpointStatus.BUSY)
    loop.pool.drain("b")
    loop.run(10.0)
    assert (status(loop, "a"), status(loop, "b")) == (EndpointStatus.OFFLINE, EndpointStatus.DRAINING)
    beating(loop, 1, "a", "b")
    assert (status(loop, "a"), status(loop, "b")) == (EndpointStatus.BUSY, EndpointStatus.DRAINING)


def test_a_person_has_the_last_word() -> None:
    loop = Loop(well, check=None, heartbeat_timeout=5.0)
    loop.run(1.0)
    beating(loop, 1, "a")
    loop.run(10.0)
    loop.pool.set_status("a", EndpointStatus.ONLINE)
    loop.run(10.0)
    assert status(loop, "a") is EndpointStatus.ONLINE


def test_when_all_are_silent_the_way_the_heartbeats_come_is_the_suspect() -> None:
    loop = Loop(well, check=None, heartbeat_timeout=5.0)
    loop.run(1.0)
    beating(loop, 3, "a", "b", "c")
    beating(loop, 8, "b", "c")
    assert status(loop, "a") is EndpointStatus.OFFLINE
    loop.run(30.0)
    assert {status(loop, id) for id in "abc"} == {EndpointStatus.ONLINE}
    beating(loop, 2, "b")
    assert [status(loop, id) for id in "abc"] == [
        EndpointStatus.OFFLINE,
        EndpointStatus.ONLINE,
        EndpointStatus.OFFLINE,
    ]


def test_what_our_own_checks_report_is_no_heartbeat() -> None:
    def answers(endpoint: Endpoint, now: float) -> Any:
        return Health(now < 20.0, load=Load(connections=1)), 0.01

    loop = Loop(answers, heartbeat_timeout=5.0)
    loop.run(60.0)  # all checks fail: fail open, and nobody is silent who never spoke
    assert {status(loop, id) for id in "abc"} == {EndpointStatus.ONLINE}
    assert len(loop.pool.snapshot.ready) == 3


def test_a_heartbeat_is_heard_beside_our_own_reports() -> None:
    loop = Loop(lambda e, now: (Health(True, load=Load(queued=0)), 0.01), heartbeat_timeout=10.0)
    beating(loop, 20, "a", "b")
    beating(loop, 12, "b")
    assert status(loop, "a") is EndpointStatus.OFFLINE


def test_a_heartbeat_in_the_middle_of_a_check_is_heard() -> None:
    def answers(endpoint: Endpoint, now: float) -> Any:
        if endpoint.id == "a" and now < 20.0:
            loop.pool.heartbeat("a")
        return Health(True, load=Load(queued=0)), 0.01

    loop = Loop(answers, heartbeat_timeout=10.0)
    loop.run(25.0)
    assert status(loop, "a") is EndpointStatus.ONLINE
    loop.run(10.0)
    assert status(loop, "a") is EndpointStatus.OFFLINE


def test_what_was_done_to_one_that_was_replaced_is_not_undone_on_its_successor() -> None:
    loop = Loop(well, "a", "b", check=None, heartbeat_timeout=5.0)
    loop.run(1.0)
    beating(loop, 1, "a", "b")
    beating(loop, 8, "b")
    assert status(loop, "a") is EndpointStatus.OFFLINE
    loop.pool.replace([Endpoint("a", url="http://elsewhere"), Endpoint("b")])
    loop.pool.set_status("a", EndpointStatus.OFFLINE)  # a person's doing
    loop.run(20.0)  # now b is silent too
    assert (status(loop, "a"), status(loop, "b")) == (EndpointStatus.OFFLINE, EndpointStatus.ONLINE)


def test_a_replaced_endpoint_starts_anew() -> None:
    loop = Loop(well, check=None, heartbeat_timeout=5.0)
    loop.run(1.0)
    beating(loop, 1, "a")
    loop.run(10.0)
    loop.pool.replace([Endpoint("a", url="http://elsewhere"), Endpoint("b")])
    loop.run(20.0)
    assert status(loop, "a") is EndpointStatus.ONLINE


# -- the policy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0},
        {"interval": "soon"},
        {"jitter": 1.5},
        {"rise": 0},
        {"fall": 2.5},
        {"concurrency": 0},
        {"timeout": -1},
        {"intervall": 3},
        {"check": None},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        HealthPolicy(**wrong)


def test_a_policy_reads_durations_and_is_frozen() -> None:
    policy = HealthPolicy(interval="500ms", timeout="2s", heartbeat_timeout="1m")
    assert (policy.interval, policy.timeout, policy.heartbeat_timeout) == (0.5, 2.0, 60.0)
    with pytest.raises(ValidationError, match="frozen"):
        policy.interval = 1.0  # type: ignore[misc]


def test_the_limit_is_the_policys_or_the_checks_or_a_second() -> None:
    assert limit_of(Never(), HealthPolicy()) == 1.0
    assert limit_of(HttpCheck(timeout=3.0), HealthPolicy()) == 3.0
    assert limit_of(HttpCheck(timeout=3.0), HealthPolicy(timeout=0.5)) == 0.5


def test_the_page_tells_the_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "health.md").read_text()
    for name, field in HealthPolicy.model_fields.items():
        default = f'"{field.default}"' if isinstance(field.default, str) else field.default
        assert f"| `{name}` | `{default}` |" in page
