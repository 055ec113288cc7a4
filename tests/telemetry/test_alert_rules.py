"""When each rule says that something is wrong, and when no more."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import (
    ConfigError,
    Endpoint,
    EndpointStatus,
    Outcome,
    OutlierPolicy,
    PluginError,
    Request,
    Role,
)
from langchain_cluster.model.call import Answer, AttemptReport, Verdict
from langchain_cluster.model.events import (
    AttemptEnded,
    BudgetUsed,
    CacheFailed,
    CacheRecovered,
    CallEnded,
    DiscoveryFailed,
    DiscoveryRecovered,
    RetryBudgetEmpty,
)
from langchain_cluster.telemetry.alerts import (
    BudgetSpent,
    CacheDown,
    DiscoveryStale,
    EndpointDown,
    ErrorBudgetBurn,
    PoolBelow,
    RetryBudgetSpent,
    Rule,
)
from langchain_cluster.telemetry.alerts.kinds import RULES, make_rule
from langchain_cluster.telemetry.scrub import hashed
from tests.telemetry.watched_alerts import Alarmed


def test_an_endpoint_that_fails_its_checks_is_down_after_its_time_and_up_after_another() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=30, resolve_after=20, level="critical"), "a", "b")
    alarmed.pool.mark("a", healthy=False, reason="secret reason")
    assert alarmed.said(30) == []
    (alert,) = alarmed.after(1)
    assert (alert.level, alert.subject, alert.endpoint, alert.since) == ("critical", "a", "a", 1001.0)
    assert str(alert) == "critical: endpoint a fails its health checks"
    assert alarmed.said(600) == []
    alarmed.pool.mark("a", healthy=True)
    assert alarmed.said(20) == []
    (over,) = alarmed.after(1)
    assert str(over) == f"resolved after {over.at - 1001.0:.0f} s: endpoint_down of a"
    assert alarmed.watch.firing == []


@pytest.mark.parametrize("way", ["circuit", "offline", "ejected"])
def test_an_endpoint_may_be_down_in_several_ways(way: str) -> None:
    options: dict[str, Any] = {}
    if way == "ejected":
        options = {"outlier": OutlierPolicy(consecutive_failures=3, ejection=60.0), "breaker": None}
    alarmed = Alarmed(EndpointDown(for_seconds=5, resolve_after=0), "a", "b", "c", **options)
    if way == "offline":
        alarmed.pool.set_status("a", EndpointStatus.OFFLINE)
    else:
        alarmed.call("a", Outcome.failed(seconds=0.1), times=5 if way == "circuit" else 3)
    assert alarmed.said(7) == [("firing", "warning", "a")]
    if way == "offline":
        alarmed.pool.set_status("a", EndpointStatus.ONLINE)
    elif way == "circuit":
        alarmed.clock.advance(10.0)
        alarmed.call("a")
    assert alarmed.said(80) == [("resolved", "warning", "a")]


def test_what_was_done_on_purpose_is_not_down() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=0), "a", "b", Endpoint("c", weight=0))
    alarmed.pool.drain("a")
    alarmed.pool.force_open("b")
    alarmed.pool.mark("c", healthy=False)
    assert alarmed.said(60) == []


def test_what_throttles_is_well() -> None:
    alarmed = Alarmed([EndpointDown(for_seconds=0)], "a", "b")
    alarmed.call("a", Outcome.throttled(60.0))
    assert alarmed.said(30) == []


def test_what_comes_and_goes_is_not_told() -> None:
    alarmed = Alarmed(EndpointDown(for_seconds=10), "a", "b")
    for _ in range(10):
        alarmed.pool.mark("a", healthy=False)
        assert alarmed.said(8) == []
        alarmed.pool.mark("a", healthy=True)
        assert alarmed.said(2) == []


def test_too_few_endpoints_are_told_per_tier_and_role_and_none_is_critical() -> None:
    endpoints = [Endpoint(f"f{n}", tier="fast") for n in range(2)] + [
        Endpoint(f"s{n}", tier="slow", roles=frozenset({Role.EMBEDDING})) for n in range(4)
    ]
    alarmed = Alarmed(PoolBelow(share=0.75, for_seconds=5, resolve_after=5), *endpoints)
    assert alarmed.said(20) == []
    alarmed.pool.mark("f0", healthy=False)
    assert alarmed.said(10) == [("firing", "warning", "tier fast"), ("firing", "warning", "role llm")]
    alarmed.pool.mark("f1", healthy=False)
    assert alarmed.said(10) == [
        ("firing", "critical", "tier fast"),
        ("firing", "critical", "role llm"),
        ("firing", "warning", "pool"),
    ]
    for id in ("f0", "f1"):
        alarmed.pool.mark(id, healthy=True)
    assert sorted(alarmed.said(10)) == [
        ("resolved", "critical", "role llm"),
        ("resolved", "critical", "tier fast"),
        ("resolved", "warning", "pool"),
    ]


def test_a_drained_endpoint_does_not_make_the_pool_short() -> None:
    alarmed = Alarmed(PoolBelow(for_seconds=0), "a", "b", "c")
    alarmed.pool.drain("a")
    alarmed.pool.drain("b")
    assert alarmed.said(10) == []


def ended(error: str | None, at: float) -> CallEnded:
    return CallEnded(at, Request(), None if error else Answer(None, "off"), error)


def traffic(alarmed: Alarmed, seconds: int, every: int, error: str = "ClusterExhausted") -> list[Any]:
    """Ten calls a second, one of `every` fails."""
    notices, number = [], 0
    for _ in range(seconds):
        for _ in range(10):
            number += 1
            alarmed.hear(ended(error if every and number % every == 0 else None, alarmed.clock.now()))
        notices += alarmed.said(1)
        alarmed.events.clear()
    return notices


def test_a_burning_error_budget_is_critical_and_ends_soon_after_the_errors() -> None:
    alarmed = Alarmed(ErrorBudgetBurn(windows=[(3600, 300, 14.4)], resolve_after=10), "a")
    assert traffic(alarmed, 600, every=0) == []
    assert traffic(alarmed, 600, every=5) == [("firing", "critical", "calls")]  # 20 % fail: a rate of 40
    assert traffic(alarmed, 400, every=0) == [("resolved", "critical", "calls")]


def test_a_slowly_burning_one_is_a_warning() -> None:
    alarmed = Alarmed(ErrorBudgetBurn(), "a")
    assert traffic(alarmed, 300, every=22) == [("firing", "warning", "calls")]  # 4.5 %: a rate of 9


def test_an_error_budget_that_is_kept_says_nothing() -> None:
    assert traffic(Alarmed(ErrorBudgetBurn(), "a"), 600, every=100) == []


@pytest.mark.parametrize("error", ["abandoned", "BudgetExceeded"])
def test_callers_that_leave_burn_nothing(error: str) -> None:
    assert traffic(Alarmed(ErrorBudgetBurn(), "a"), 60, every=2, error=error) == []


def test_callers_that_ask_for_nonsense_burn_nothing() -> None:
    alarmed = Alarmed(ErrorBudgetBurn(), "a")
    for _ in range(100):
        report = AttemptReport(1, "a", Verdict.CALLER, 0.1, "no", ValueError("no"))
        alarmed.hear(AttemptEnded(alarmed.clock.now(), report))
        alarmed.hear(ended("ValueError", alarmed.clock.now()))
    assert alarmed.said(5) == []
    for _ in range(100):
        alarmed.hear(ended("ValueError", alarmed.clock.now()))
    assert alarmed.said(5) == [("firing", "critical", "calls")]


def test_one_failure_of_two_burns_nothing() -> None:
    alarmed = Alarmed(ErrorBudgetBurn(), "a")
    alarmed.hear(ended(None, alarmed.clock.now()))
    alarmed.hear(ended("TimeoutError", alarmed.clock.now()))
    assert alarmed.said(10) == []


def test_the_memory_of_a_long_time_is_bounded() -> None:
    rule = ErrorBudgetBurn(windows=[(60, 30, 1.0)])
    for second in range(10_000):
        rule.feed(ended("Error", float(second)))
    assert len(rule._calls._parts) <= 2 * 60 + 1
    assert rule._calls.within(9_990.0) == (10, 10)


def test_refused_retries_are_told_until_there_were_none_for_a_while() -> None:
    alarmed = Alarmed(RetryBudgetSpent(quiet=30, resolve_after=10), "a")
    alarmed.hear(RetryBudgetEmpty(alarmed.clock.now(), 0.2))
    assert alarmed.said(20) == [("firing", "warning", "retries")]
    alarmed.hear(RetryBudgetEmpty(alarmed.clock.now(), 0.2))
    assert alarmed.said(29) == []
    assert alarmed.said(15) == [("resolved", "warning", "retries")]


def test_a_cache_is_down_until_it_has_recovered() -> None:
    alarmed = Alarmed(CacheDown(failures=3, for_seconds=10, resolve_after=10), "a")
    alarmed.hear(CacheFailed(alarmed.clock.now(), "lookup", "ValueError"))
    assert alarmed.said(60) == []
    for _ in range(2):
        alarmed.hear(CacheFailed(alarmed.clock.now(), "lookup", "ConnectionError"))
    assert alarmed.said(60) == [("firing", "warning", "cache")]
    alarmed.hear(CacheRecovered(alarmed.clock.now(), "lookup", 60.0))
    assert alarmed.said(15) == [("resolved", "warning", "cache")]


def test_a_stale_discovery_is_told_per_source() -> None:
    alarmed = Alarmed(DiscoveryStale(for_seconds=60, resolve_after=5), "a")
    for source in ("consul", "etcd"):
        alarmed.hear(DiscoveryFailed(alarmed.clock.now(), source, "OSError"))
    alarmed.hear(DiscoveryRecovered(alarmed.clock.now(), "etcd", 1.0))
    assert alarmed.said(70) == [("firing", "warning", "consul")]
    alarmed.hear(DiscoveryRecovered(alarmed.clock.now(), "consul", 70.0))
    assert alarmed.said(10) == [("resolved", "warning", "consul")]


def test_a_spent_budget_is_told_while_calls_are_refused_for_it() -> None:
    alarmed = Alarmed(BudgetSpent(quiet=60, level="critical"), "a")
    alarmed.hear(ended("BudgetExceeded", alarmed.clock.now()))
    assert alarmed.said(10) == [("firing", "critical", "budget")]
    assert alarmed.said(100) == [("resolved", "critical", "budget")]


@pytest.mark.parametrize("kind", list(RULES))
def test_every_kind_can_be_made_by_name_and_tells_itself(kind: str) -> None:
    rule = make_rule(kind, {"level": "info", "for_seconds": 3, "repeat": 60.0})
    assert (rule.name, repr(rule)) == (kind, f"<{type(rule).__name__} info after 3 s>")


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("endpoint_dwn", {}, "did you mean 'endpoint_down'"),
        ("endpoint_down", {"for": 3}, "for_seconds"),
        ("endpoint_down", {"level": "fatal"}, "expected one of info, warning, critical"),
        ("endpoint_down", {"for_seconds": -1}, "-1 is not a number of seconds >= 0"),
        ("endpoint_down", {"repeat": 0}, "0 is not a number of seconds > 0"),
        ("pool_below", {"share": 2}, "2 is not above 0 and at most 1"),
        ("error_budget_burn", {"objective": 1.0}, "an objective of 1"),
        ("error_budget_burn", {"windows": [(1, 2)]}, "(long, short, rate)"),
        ("endpoint_down", {"react": "explode"}, "drain, force_open, promote_standby, shift_tier"),
        ("endpoint_down", {"react": {"action": "shift_tier"}}, "which tier calls go to"),
        ("endpoint_down", {"react": {"action": "drain", "to": "x"}}, "means nothing to drain"),
        ("endpoint_down", {"react": {"action": "drain", "when": "x"}}, "unknown key 'when'"),
        ("endpoint_down", {"react": {"level": "critical"}}, "the action is missing"),
        ("endpoint_down", {"react": 3}, "3 is no reaction"),
    ],
)
def test_bad_settings_are_told(kind: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_rule(kind, options)
    assert told in str(error.value)


def test_an_unknown_kind_is_a_plugin_error() -> None:
    with pytest.raises(PluginError):
        make_rule("nothing")


def test_a_rule_has_a_name_of_its_own() -> None:
    assert Rule(name="mine").name == "mine"


def test_a_budget_that_is_spent_is_told_until_it_begins_anew() -> None:
    alarmed = Alarmed([BudgetSpent(resolve_after=5), BudgetSpent(part=0.8, name="soon", level="info")], "a")
    for who, part in (("acme", 0.8), ("acme", 1.0), ("other", 0.5)):
        alarmed.hear(BudgetUsed(alarmed.clock.now(), "tenant", who, part, 5.0 * part, 5.0, 100.0))
    notices = alarmed.after(10)
    assert [(a.rule, a.level.value) for a in notices] == [("budget_spent", "warning"), ("soon", "info")]
    assert notices[0].text == f"the budget of tenant {hashed('acme')} is spent: 5.00 of 5 USD"
    alarmed.hear(ended("BudgetExceeded", alarmed.clock.now()))
    assert alarmed.said(80) == [], "whose budget it is was told already"
    assert [state for state, _, _ in alarmed.said(60)] == ["resolved", "resolved"]
    alarmed.hear(BudgetUsed(alarmed.clock.now(), "cluster", None, 1.0, 5.0, 5.0, None))
    assert alarmed.said(5)[0] == ("firing", "warning", "cluster")
    assert alarmed.said(600) == [], "a budget that never begins anew stays spent"
