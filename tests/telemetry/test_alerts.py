"""Who is told, how often, and what is done by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_cluster import BreakerPolicy, Cluster, ConfigError, Endpoint, EndpointStatus, Outcome, Request
from langchain_cluster.model.alert import Alert, Level
from langchain_cluster.model.events import AlertFailed, Event, StandbyChanged, TierShifted
from langchain_cluster.telemetry.alerts import Alerts, EndpointDown, LogSink, PoolBelow, Reaction, Rule
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.telemetry.watched_alerts import Alarmed


class Told(Rule):
    """Says what it is told to."""

    kind = "told"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.wrong: dict[str, Level] = {}
        self.endpoint: str | None = None

    def check(self, now: float, pool: Any) -> list[Alert]:
        if "raise" in self.wrong:
            raise KeyError("broken")
        return [
            self.alert(subject, f"{subject} is wrong", 0.0, now, level=level, endpoint=self.endpoint)
            for subject, level in self.wrong.items()
        ]


# -- who is told ------------------------------------------------------------------------------------


def test_an_alert_is_told_once_and_again_when_it_grows_louder() -> None:
    rule = Told(resolve_after=5)
    alarmed = Alarmed(rule, "a")
    rule.wrong["x"] = Level.INFO
    assert alarmed.said(50) == [("firing", "info", "x")]
    rule.wrong["x"] = Level.CRITICAL
    assert alarmed.said(50) == [("firing", "critical", "x")]
    rule.wrong["x"] = Level.WARNING
    assert alarmed.said(50) == []  # it is not over, and was told louder already
    assert [alert.level for alert in alarmed.watch.firing] == [Level.CRITICAL]
    rule.wrong["x"] = Level.CRITICAL
    assert alarmed.said(50) == []
    rule.wrong.clear()
    assert alarmed.said(50) == [("resolved", "critical", "x")]


def test_two_rules_of_one_name_are_one_alert_that_grows_louder() -> None:
    rules = [
        EndpointDown(for_seconds=10, level="info"),
        EndpointDown(for_seconds=60, level="critical", react="drain"),
    ]
    alarmed = Alarmed(rules, "a", "b")
    alarmed.pool.mark("a", healthy=False)
    assert alarmed.said(50) == [("firing", "info", "a")]
    assert alarmed.did() == []
    assert alarmed.said(50) == [("firing", "critical", "a")]
    assert alarmed.did() == ["drain a"]


def test_what_goes_and_comes_back_goes_on() -> None:
    rule = Told(resolve_after=10)
    alarmed = Alarmed(rule, "a")
    said = []
    for _ in range(10):
        rule.wrong["x"] = Level.WARNING
        said += alarmed.said(5)
        rule.wrong.clear()
        said += alarmed.said(8)
    assert said == [("firing", "warning", "x")]
    assert alarmed.said(5) == [("resolved", "warning", "x")]


def test_a_repeat_is_told_again_while_it_lasts() -> None:
    rule = Told(repeat=60)
    alarmed = Alarmed(rule, "a")
    rule.wrong["x"] = Level.WARNING
    assert len(alarmed.said(185)) == 4


def test_subjects_are_told_apart_and_the_loudest_stands_first() -> None:
    rule = Told()
    alarmed = Alarmed(rule, "a")
    rule.wrong |= {"x": Level.INFO, "y": Level.CRITICAL}
    assert len(alarmed.said(5)) == 2
    assert [alert.subject for alert in alarmed.watch.firing] == ["y", "x"]
    assert repr(alarmed.watch) == "<Watch <Alerts told, 0 sinks>, 2 alerts stand>"


def test_a_rule_that_raises_is_an_event_and_spares_the_others() -> None:
    broken, well = Told(name="broken"), Told(name="well")
    alarmed = Alarmed([broken, well], "a")
    broken.wrong["raise"] = well.wrong["x"] = Level.INFO
    assert alarmed.said(9) == [("firing", "info", "x")]
    assert [e for e in alarmed.events if isinstance(e, AlertFailed)] == [
        AlertFailed(1001.0, "rule broken", "KeyError")
    ]


def test_a_rule_that_raises_when_it_is_fed_is_an_event() -> None:
    class Deaf(Told):
        def feed(self, event: Event) -> None:
            raise RuntimeError("deaf")

    alarmed = Alarmed(Deaf(name="deaf"), "a", "b")
    alarmed.pool.mark("a", healthy=False)
    assert AlertFailed(1000.0, "rule deaf", "RuntimeError") in alarmed.events


@pytest.mark.parametrize(
    ("rules", "sinks", "told"),
    [
        ([3], None, "int is no AlertRule"),
        ([EndpointDown], None, "type is no AlertRule"),
        (["nothing"], None, "unknown alert rule"),
        ([], [3], "int cannot be called"),
    ],
)
def test_what_is_no_rule_or_sink_is_told(rules: Any, sinks: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Alerts(rules, sinks)


def test_without_rules_all_are_taken_and_logged() -> None:
    alerts = Alerts()
    assert len(alerts.rules) == 7
    assert [type(sink) for sink in alerts.sinks] == [LogSink]
    assert repr(Alerts("cache_down", [])) == "<Alerts cache_down, 0 sinks>"


# -- what is done -----------------------------------------------------------------------------------


def test_an_endpoint_that_is_down_is_drained_and_comes_back_when_it_is_well() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=5, resolve_after=10, react="drain"), "a", "b")
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(100)
    assert alarmed.did() == ["drain a"]
    assert alarmed.status("a") == "draining"
    alarmed.pool.mark("a", healthy=True)
    assert alarmed.said(15) == []
    assert alarmed.did() == ["-drain a"]
    assert alarmed.status("a") == "online"
    assert alarmed.said(15) == [("resolved", "warning", "a")]


def test_a_busy_endpoint_is_busy_again_afterwards() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=0, resolve_after=1, react="drain"), "a", "b")
    alarmed.pool.set_status("a", EndpointStatus.BUSY)
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(5)
    alarmed.pool.mark("a", healthy=True)
    alarmed.after(5)
    assert alarmed.status("a") == "busy"


@pytest.mark.parametrize("action", ["drain", "force_open"])
def test_one_that_is_still_broken_is_taken_out_again_for_longer_and_nobody_is_told_twice(action: str) -> None:
    alarmed = Alarmed(
        EndpointDown(for_seconds=5, resolve_after=10, react=action), "a", "b",
        breaker=BreakerPolicy(consecutive_failures=5),
    )  # fmt: skip
    said: list[tuple[str, str, str]] = []
    taken: list[float] = []
    for second in range(700):
        if alarmed["a"].why_not(alarmed.clock.now()) is None and second < 200:
            alarmed.call("a", Outcome.failed(seconds=0.1))
        elif alarmed["a"].why_not(alarmed.clock.now()) is None:
            alarmed.call("a")
        said += alarmed.said(1)
        taken += [second for what in alarmed.did() if what == f"{action} a"]
    assert said == [("firing", "warning", "a"), ("resolved", "warning", "a")]
    gaps = [later - earlier for earlier, later in pairwise(taken)]
    assert len(gaps) >= 2
    assert gaps == sorted(gaps)
    assert gaps[-1] > 2 * gaps[0]
    assert alarmed["a"].why_not(alarmed.clock.now()) is None


@pytest.mark.parametrize("action", ["drain", "force_open"])
def test_without_calls_a_drained_circuit_is_given_back_closed_and_it_is_over(action: str) -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=5, resolve_after=10, react=action), "a", "b")
    alarmed.break_("a")
    assert alarmed.said(60) == [("firing", "warning", "a"), ("resolved", "warning", "a")]
    assert alarmed.did() == [f"{action} a", f"-{action} a"]
    assert alarmed["a"].breaker_state == "closed"


@pytest.mark.parametrize("action", ["drain", "force_open"])
def test_the_last_one_is_never_taken_out(action: str) -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=0, react=action), "a", "b", "c")
    for id in "abc":
        alarmed.pool.mark(id, healthy=False)
        alarmed.after(10)
    assert [what for what in alarmed.did() if what[0] not in "!-"] == [f"{action} a", f"{action} b"]
    assert alarmed.asked()  # nobody is well, so nobody is believed, and calls go on


def test_one_of_a_kind_is_not_taken_out() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=0, react="drain"), Endpoint("a", tier="fast"), "b", "c")
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(10)
    assert alarmed.did() == ["!drain a"]


def test_who_was_taken_out_is_given_back_when_the_others_leave() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=0, react="drain"), "a", "b")
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(5)
    alarmed.pool.remove("b")
    alarmed.after(5)
    assert alarmed.did() == ["drain a", "-drain a", "!drain a"]
    assert alarmed.asked() == {"a"}


def test_what_somebody_did_by_hand_is_not_undone() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=0, resolve_after=1, react=["drain"]), "a", "b", "c")
    alarmed.pool.drain("a")
    for id in "ab":
        alarmed.pool.mark(id, healthy=False)
    alarmed.after(3)
    alarmed.pool.set_status("b", EndpointStatus.BUSY)  # somebody knows better
    for id in "ab":
        alarmed.pool.mark(id, healthy=True)
    alarmed.after(10)
    assert alarmed.status("a") == "draining"
    assert alarmed.status("b") == "busy"
    assert alarmed.did() == ["!drain a", "drain b"]


def test_a_circuit_somebody_closed_or_an_endpoint_that_left_is_left_alone() -> None:
    rule = Told(resolve_after=1, react="force_open")
    alarmed = Alarmed(rule, "a", "b", "c")
    rule.endpoint = "a"
    rule.wrong["a"] = Level.WARNING
    alarmed.after(2)
    alarmed.pool.force_close("a")
    rule.wrong.clear()
    alarmed.after(5)
    assert alarmed.did() == ["force_open a"]
    rule.wrong["a"] = Level.WARNING
    alarmed.after(2)
    alarmed.pool.remove("a")
    rule.wrong.clear()
    alarmed.after(5)
    assert alarmed.did() == ["force_open a"]
    rule.wrong["a"] = Level.WARNING
    alarmed.after(2)
    assert alarmed.did() == ["!force_open a"]


def test_a_standby_level_is_promoted_and_demoted() -> None:
    endpoints = [*map(Endpoint, "abc"), Endpoint("s", priority=1), Endpoint("t", priority=2)]
    alarmed = Alarmed(
        PoolBelow(share=0.9, for_seconds=5, resolve_after=5, react="promote_standby"), *endpoints
    )
    assert alarmed.asked() == {"a", "b", "c"}
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(10)
    assert alarmed.asked() == {"b", "c", "s"}
    assert StandbyChanged(1006.0, 1, True) in alarmed.events
    assert alarmed.did() == ["promote_standby level 1"]
    alarmed.pool.mark("a", healthy=True)
    alarmed.after(10)
    assert alarmed.did() == ["-promote_standby level 1"]
    assert alarmed.asked() == {"a", "b", "c"}


def test_without_a_standby_nothing_is_promoted() -> None:
    alarmed = Alarmed(PoolBelow(share=0.9, for_seconds=0, react="promote_standby"), "a", "b")
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(10)
    assert alarmed.did() == ["!promote_standby pool"]


def test_promoting_by_hand() -> None:
    alarmed = Alarmed([], "a", Endpoint("s", priority=1), Endpoint("t", priority=2))
    pool = alarmed.pool
    assert pool.promote() == 1
    assert pool.promote(2) == 2
    assert pool.promote(2) == 2
    assert pool.promoted == {1, 2}
    assert pool.promote() is None
    assert alarmed.asked() == {"a", "s", "t"}
    assert pool.demote(1)
    assert not pool.demote(1)
    assert alarmed.asked() == {"a", "t"}
    with pytest.raises(ConfigError, match="no standby level 0"):
        pool.promote(0)


SHIFT = {"action": "shift_tier", "to": "small"}


def test_calls_for_a_tier_go_to_another_one_until_it_is_well() -> None:
    endpoints = [Endpoint("a", tier="big"), Endpoint("b", tier="big"), Endpoint("s", tier="small")]
    alarmed = Alarmed(PoolBelow(share=1.0, for_seconds=0, resolve_after=5, react=SHIFT), *endpoints)
    alarmed.pool.mark("a", healthy=False)
    alarmed.pool.mark("b", healthy=False)
    alarmed.after(3)
    assert alarmed.asked(tier="big") == {"s"}
    assert alarmed.pool.anybody(Request(tier="big"), now=alarmed.clock.now())
    assert alarmed.pool.shifts == {"big": "small"}
    shifts = [e for e in alarmed.events if isinstance(e, TierShifted)]
    assert [(e.tier, e.to) for e in shifts] == [("big", "small")]
    assert "shift_tier tier big" in alarmed.did()
    for id in "ab":
        alarmed.pool.mark(id, healthy=True)
    alarmed.after(12)
    assert "-shift_tier tier big" in alarmed.did()
    assert alarmed.asked(tier="big") == {"a", "b"}
    assert alarmed.watch.firing == []


def test_a_tier_is_not_shifted_to_one_that_is_down_or_shifted_itself() -> None:
    endpoints = [Endpoint("a", tier="big"), Endpoint("s", tier="small"), Endpoint("m", tier="mid")]
    alarmed = Alarmed(PoolBelow(share=1.0, for_seconds=0, react=SHIFT), *endpoints)
    alarmed.pool.mark("s", healthy=False)
    alarmed.pool.mark("a", healthy=False)
    alarmed.after(3)
    assert alarmed.pool.shifts == {}
    alarmed.pool.shift_tier("small", to="mid")
    alarmed.pool.mark("s", healthy=True)
    alarmed.after(3)
    assert alarmed.pool.shifts == {"small": "mid"}
    alarmed.pool.unshift_tier("small")
    alarmed.pool.unshift_tier("small")
    alarmed.after(3)
    assert alarmed.pool.shifts == {"big": "small"}
    alarmed.pool.unshift_tier("big")
    alarmed.pool.mark("a", healthy=True)
    alarmed.after(100)
    assert alarmed.pool.shifts == {}


@pytest.mark.parametrize("to", ["nothing", "big"])
def test_a_tier_can_only_be_shifted_to_another_one_that_is_there(to: str) -> None:
    alarmed = Alarmed([], Endpoint("a", tier="big"), Endpoint("s", tier="small"))
    with pytest.raises(ConfigError, match="expected one of big, small"):
        alarmed.pool.shift_tier("big", to=to)


def test_a_reaction_may_want_a_level() -> None:
    rule = Told(react=[Reaction("drain", level=Level.CRITICAL)])
    alarmed = Alarmed(rule, "a", "b")
    rule.endpoint = "a"
    rule.wrong["a"] = Level.WARNING
    alarmed.after(5)
    assert alarmed.did() == []
    rule.wrong["a"] = Level.CRITICAL
    alarmed.after(5)
    assert alarmed.did() == ["drain a"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcs"),
            st.sampled_from(["sick", "well", "fail", "offline", "online", "throttle", "serve"]),
            st.integers(1, 40),
        ),
        max_size=25,
    )
)
def test_whatever_happens_somebody_is_asked_and_every_alert_resolves_once_all_are_well(
    mishaps: list[tuple[str, str, int]],
) -> None:
    rules = [
        EndpointDown(for_seconds=5, resolve_after=10, react="drain"),
        EndpointDown(for_seconds=20, resolve_after=10, level="critical", react="force_open"),
        PoolBelow(share=0.7, for_seconds=5, resolve_after=10, react=["promote_standby"]),
    ]
    alarmed = Alarmed(rules, "a", "b", "c", Endpoint("s", priority=1))
    notices: list[Alert] = []
    for id, what, seconds in mishaps:
        pool = alarmed.pool
        match what:
            case "sick" | "well":
                pool.mark(id, healthy=what == "well")
            case "offline" | "online":
                if alarmed[id].status is not EndpointStatus.DRAINING:
                    pool.set_status(id, EndpointStatus(what))
            case _:
                outcome = {"fail": Outcome.failed(seconds=0.1), "throttle": Outcome.throttled(2.0)}.get(what)
                for _ in range(6):
                    if alarmed[id].why_not(alarmed.clock.now()) is None:
                        alarmed.call(id, outcome or Outcome.ok(seconds=0.1))
        notices += alarmed.after(seconds)
        ours = [m for m in pool if m.status is EndpointStatus.DRAINING or m.breaker_state == "forced_open"]
        assert len(ours) < 4  # the last one is never taken out
    for id in "abcs":
        alarmed.pool.mark(id, healthy=True)
        if alarmed[id].status is EndpointStatus.OFFLINE:
            alarmed.pool.set_status(id, EndpointStatus.ONLINE)
    for _ in range(400):
        for id in "abcs":
            if alarmed[id].why_not(alarmed.clock.now()) is None and alarmed[id].probing:
                alarmed.call(id)
        notices += alarmed.after(1)
    assert alarmed.watch.firing == []
    assert all(m.status is EndpointStatus.ONLINE and m.breaker_state == "closed" for m in alarmed.pool)
    assert not alarmed.pool.promoted
    fired = {(a.rule, a.subject) for a in notices if a.state == "firing"}
    assert fired == {(a.rule, a.subject) for a in notices if a.state == "resolved"}
    assert [a for a in notices if a.state == "resolved"] != notices or not notices


# -- in a cluster -----------------------------------------------------------------------------------


def cluster(alerts: Any, **options: Any) -> Cluster:
    models = [Endpoint(id, ScriptedModel("hi")) for id in "ab"]
    return Cluster(models, alerts=alerts, clock=FakeClock(), **options)


def test_a_cluster_without_alerts_has_no_thread_and_no_listener() -> None:
    with cluster(None) as running:
        assert running.alerts is None
        assert not running.events.heard


def test_rules_that_only_look_at_the_pool_are_not_told_of_calls() -> None:
    with cluster(["endpoint_down", "pool_below"]) as running:
        assert not running.events.heard
    with cluster(["error_budget_burn"]) as running:
        assert running.events.heard
    assert not running.events.heard


def test_a_cluster_watches_from_start_to_close_and_again() -> None:
    sent: list[Alert] = []
    rule = Told()
    running = cluster(Alerts([rule], [sent.append], every=0.01))
    for _ in range(2):
        rule.wrong["x"] = Level.CRITICAL
        with running:
            assert running.alerts is not None
            while not running.alerts.firing:
                pass
        assert [str(alert) for alert in sent] == ["critical: x is wrong"]
        sent.clear()
        running.alerts._ledger.standing.clear()


@pytest.mark.parametrize("alerts", [True, 3, {"rules": []}])
def test_what_is_neither_alerts_nor_rules_is_told(alerts: Any) -> None:
    with pytest.raises(ConfigError, match="is neither an Alerts nor a list of rules"):
        cluster(alerts)
