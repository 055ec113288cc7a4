"""Who may be asked for a request, in which order, and why the others may not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus, Role
from langchain_cluster.model.events import EndpointCooling
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.pool.match import lacks
from langchain_cluster.pool.members import LONGEST_COOL_DOWN
from langchain_cluster.pool.pool import COOL_DOWN
from tests.pool.watched import Watched


def refusal(watched: Watched, exclude: tuple[str, ...] = (), **wanted: Any) -> NoEndpointAvailable:
    with pytest.raises(NoEndpointAvailable) as caught:
        watched.pool.acquire(Request(**wanted), exclude=exclude)
    return caught.value


# -- what a request demands ------------------------------------------------------------------------

RICH = Endpoint(
    "rich",
    tier="fast",
    roles={"llm", "embedding"},
    tags={"eu", "gpu"},
    metadata={"model": "llama"},
    capabilities={"tools"},
)
WANTS = [
    ({"role": Role.RETRIEVAL}, "has no role retrieval"),
    ({"tier": "smart"}, "is of tier fast, not smart"),
    ({"tags": frozenset({"eu", "b", "a"})}, "lacks the tags a, b"),
    ({"model": "qwen"}, "does not serve the model qwen"),
    ({"needs": frozenset({"vision", "tools", "audio"})}, "cannot do audio, vision"),
]
MAY = [
    {"role": Role.EMBEDDING},
    {"tier": "fast"},
    {"tags": frozenset({"gpu"})},
    {"model": "llama"},
    {"needs": frozenset({"tools"})},
    {"zone": "anywhere"},
]


@pytest.mark.parametrize(("wanted", "reason"), WANTS, ids=lambda x: x if isinstance(x, str) else "")
def test_what_an_endpoint_lacks_is_said(wanted: dict[str, Any], reason: str) -> None:
    assert lacks(RICH, Request(**wanted)) == reason
    error = refusal(Watched(RICH), **wanted)
    assert error.why == {"rich": reason}
    assert error.retry_after is None
    assert reason in str(error)
    assert " leaves 0 (rich: " in str(error)


@pytest.mark.parametrize("wanted", MAY, ids=str)
def test_who_has_it_all_may_serve(wanted: dict[str, Any]) -> None:
    assert lacks(RICH, Request(**wanted)) is None
    assert Watched(RICH).asked(2, **wanted) == {"rich"}


def test_unknown_capabilities_never_exclude() -> None:
    assert lacks(Endpoint("a"), Request(needs=frozenset({"vision"}))) is None
    assert lacks(Endpoint("a", capabilities=()), Request(needs=frozenset({"vision"}))) is not None


def test_only_those_that_suit_are_asked() -> None:
    watched = Watched(RICH, "plain", Endpoint("smart", tier="smart"), Endpoint("seer", roles="embedding"))
    assert watched.asked(tier="smart") == {"smart"}
    assert watched.asked(role=Role.EMBEDDING) == {"rich", "seer"}
    assert watched.asked() == {"rich", "plain", "smart"}  # a plain request is one for an LLM
    assert watched.asked(model="llama") == {"rich"}


def zones(eu: str = "ac", us: str = "bdef", **options: Any) -> Watched:
    return Watched(
        *(Endpoint(id, zone="eu") for id in eu), *(Endpoint(id, zone="us") for id in us), **options
    )


def test_a_zone_is_preferred_and_not_demanded() -> None:
    watched = zones()
    assert watched.asked(zone="eu") == {"a", "c"}
    assert watched.asked(zone="mars") == set("abcdef")
    assert watched.asked() == set("abcdef")
    watched.pool.drain("a")
    watched.pool.drain("c")
    assert watched.asked(zone="eu") == set("bdef")


def test_a_zone_is_not_preferred_in_a_pool_of_less_than_six() -> None:
    watched = zones("ac", "bde")
    assert watched.asked(zone="eu") == set("abcde")
    watched.pool.add(Endpoint("f", zone="us"))
    assert watched.asked(zone="eu") == {"a", "c"}


def test_a_zone_is_not_preferred_while_a_level_panics() -> None:
    watched = zones()
    for id in "bdef":
        watched[id].ejected_until = 1030.0
    watched.pool._publish(1000.0)
    assert watched.asked(zone="eu") == set("abcdef")
    watched.clock.advance(30.0)
    assert watched.asked(zone="eu") == {"a", "c"}


def test_whoever_of_the_zone_is_full_is_made_up_for_by_others() -> None:
    one = Capacity(max_connections=1)
    watched = Watched(Endpoint("near", zone="eu", capacity=one), *(Endpoint(id, zone="us") for id in "abcde"))
    assert watched.pool.acquire(Request(zone="eu")).endpoint.id == "near"
    assert watched.pool.acquire(Request(zone="eu"), exclude=["near"]).endpoint.id in set("abcde")
    assert watched.pool.acquire(Request(zone="eu")).endpoint.id in set("abcde")
    assert watched.pool.acquire(Request(zone="eu", role=Role.LLM), exclude=["a"]).endpoint.id in set("bcde")


def test_a_full_zone_is_made_up_for_by_the_rest_of_its_level_before_the_next() -> None:
    one = Capacity(max_connections=1)
    far = (Endpoint(id, zone="us", capacity=one) for id in "abcd")
    watched = Watched(
        Endpoint("near", zone="eu", capacity=one), *far, Endpoint("later", zone="eu", priority=1)
    )
    held = [watched.pool.acquire(Request(zone="eu")).endpoint.id for _ in range(6)]
    assert (held[0], set(held[1:5]), held[5]) == ("near", set("abcd"), "later")


def test_levels_share_the_traffic_of_a_zone_as_they_share_all_of_it() -> None:
    levels = (
        Endpoint(f"{zone}{level}{n}", zone=zone, priority=level)
        for zone in ("eu", "us")
        for level in (0, 1)
        for n in range(5)
    )
    watched = Watched(*levels)
    for id in ("eu00", "eu01", "us00", "us01"):  # 60 % of the level are left, good for 84 % of the calls
        watched.pool.set_status(id, EndpointStatus.OFFLINE)
    got = Counter()
    for _ in range(2000):
        with watched.pool.acquire(Request(zone="eu")) as lease:
            got[lease.endpoint.id[:3]] += 1
    assert set(got) == {"eu0", "eu1"}
    assert 0.80 < got["eu0"] / 2000 < 0.88


def test_whoever_was_asked_already_is_left_out() -> None:
    watched = Watched("a", "b", "c")
    assert {watched.pool.acquire(exclude=["a", "b"]).endpoint.id for _ in range(9)} == {"c"}
    error = refusal(watched, exclude=("a", "b", "c"))
    assert error.why == dict.fromkeys("abc", "was asked already")
    assert error.retry_after == 0.0


# -- weight and status -----------------------------------------------------------------------------


@pytest.mark.parametrize("balancer", ["round_robin", "power_of_two", "peak_ewma"])
def test_weight_nought_is_never_picked(balancer: str) -> None:
    watched = Watched(Endpoint("a", weight=0), "b", Endpoint("c", weight=0), balancer=balancer)
    assert watched.asked(100) == {"b"}
    watched.pool.remove("b")
    assert refusal(watched).why == {"a": "weight 0", "c": "weight 0"}
    assert refusal(watched).retry_after is None


@pytest.mark.parametrize("status", [EndpointStatus.OFFLINE, EndpointStatus.DRAINING])
def test_who_is_offline_or_draining_is_not_asked(status: EndpointStatus) -> None:
    watched = Watched("a", "b")
    watched.pool.set_status("a", status)
    assert watched.asked() == {"b"}
    watched.pool.remove("b")
    assert refusal(watched).why == {"a": status.value}
    assert refusal(watched).retry_after is None


def test_who_is_busy_is_asked_only_when_nobody_else_can_be() -> None:
    watched = Watched("a", "b")
    watched.pool.set_status("a", EndpointStatus.BUSY)
    assert watched.asked() == {"b"}
    watched.pool.drain("b")
    assert watched.asked() == {"a"}
    watched.pool.undrain("b")
    assert watched.asked() == {"b"}
    assert watched.pool.acquire(exclude=["b"]).endpoint.id == "a"


def test_a_busy_endpoint_serves_what_only_it_can() -> None:
    watched = Watched(Endpoint("a", tier="smart"), "b")
    watched.pool.set_status("a", EndpointStatus.BUSY)
    assert watched.asked(tier="smart") == {"a"}


# -- levels ----------------------------------------------------------------------------------------


def levels() -> Watched:
    return Watched(
        Endpoint("last", priority=7),
        Endpoint("standby", priority=1),
        Endpoint("first", priority=0),
        Endpoint("second", priority=0),
    )


def test_a_later_level_is_asked_only_when_the_ones_before_cannot_be() -> None:
    watched = levels()
    assert watched.asked() == {"first", "second"}
    watched.pool.drain("first")
    assert watched.asked() == {"second"}
    watched.pool.drain("second")
    assert watched.asked() == {"standby"}
    watched.pool.drain("standby")
    assert watched.asked() == {"last"}


def test_a_level_that_is_half_well_keeps_seven_tenths_of_its_traffic() -> None:
    """140 % of what is well, as in Envoy; the rest goes to the next level."""
    watched = Watched("a", "b", Endpoint("standby", priority=1))
    watched.break_("a")
    got = Counter(watched.pool.acquire().endpoint.id for _ in range(4_000))
    assert set(got) == {"b", "standby"}
    assert got["b"] / 4_000 == pytest.approx(0.7, abs=0.02)


def test_a_level_of_which_three_quarters_are_well_keeps_all_of_it() -> None:
    watched = Watched(*"abcd", Endpoint("standby", priority=1))
    watched.break_("a")
    assert watched.asked(400) == {"b", "c", "d"}


def test_a_retry_goes_to_the_next_level_when_the_first_was_asked() -> None:
    watched = levels()
    order = []
    while len(order) < 4:
        order.append(watched.pool.acquire(exclude=order).endpoint.id)
    assert set(order[:2]) == {"first", "second"}
    assert order[2:] == ["standby", "last"]


def test_a_full_level_spills_to_the_next() -> None:
    one = Capacity(max_connections=1)
    watched = Watched(
        Endpoint("a", capacity=one), Endpoint("b", capacity=one, priority=1), Endpoint("c", priority=2)
    )
    assert [watched.pool.acquire().endpoint.id for _ in range(5)] == ["a", "b", "c", "c", "c"]


def test_what_only_a_later_level_can_do_is_asked_of_it() -> None:
    watched = Watched("a", Endpoint("b", tier="smart", priority=1))
    assert watched.asked(tier="smart") == {"b"}
    assert watched.asked() == {"a"}


def test_an_idle_standby_is_asked_before_a_busy_first() -> None:
    watched = Watched("a", Endpoint("b", priority=1))
    watched.pool.set_status("a", EndpointStatus.BUSY)
    assert watched.asked() == {"b"}
    assert watched.pool.acquire(exclude=["b"]).endpoint.id == "a"


def test_a_zone_is_preferred_within_a_level_not_across() -> None:
    watched = Watched(Endpoint("near", zone="eu", priority=1), *(Endpoint(id, zone="us") for id in "abcde"))
    assert watched.asked(zone="eu") == set("abcde")


# -- cooling down ----------------------------------------------------------------------------------


def test_who_throttles_is_left_alone_for_as_long_as_it_asks() -> None:
    watched = Watched("a", "b")
    watched.call("a", Outcome.throttled(3.0))
    assert watched["a"].cooling_until == 1003.0
    assert watched["a"].breaker_state is BreakerState.CLOSED
    assert watched.asked() == {"b"}
    watched.clock.advance(2.9)
    assert watched.asked() == {"b"}
    watched.clock.advance(0.1)
    assert watched.asked() == {"a", "b"}


def test_a_quota_group_cools_down_together() -> None:
    watched = Watched(
        Endpoint("a", quota_group="q"), Endpoint("b", quota_group="q"), Endpoint("c", quota_group="r"), "d"
    )
    watched.events.clear()
    watched.call("a", Outcome.throttled(5.0))
    assert watched.asked() == {"c", "d"}
    assert watched.events == [EndpointCooling(1000.0, "a", 5.0, "q")]
    watched.clock.advance(5.0)
    assert watched.asked() == {"a", "b", "c", "d"}


def test_endpoints_without_a_group_are_no_group() -> None:
    watched = Watched("a", "b")
    watched.call("a", Outcome.throttled(5.0))
    assert watched.asked() == {"b"}


@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, COOL_DOWN), (0.5, 0.5), (1e9, LONGEST_COOL_DOWN), (-5.0, 0.0), (float("nan"), 0.0)],
)
def test_nonsense_in_a_retry_after_is_bounded(asked: float | None, given: float) -> None:
    watched = Watched("a")
    watched.events.clear()
    watched.call("a", Outcome.throttled(asked))
    more = asked if given == LONGEST_COOL_DOWN else None
    assert watched.events == [EndpointCooling(1000.0, "a", given, None, asked=more)]
    assert watched["a"].cooling_until == 1000.0 + given


def test_a_shorter_wish_does_not_shorten_a_longer_one() -> None:
    watched = Watched("a", "b")
    lease = watched.lease_on("a")
    watched.call("a", Outcome.throttled(60.0))
    lease.settle(Outcome.throttled(1.0))
    assert watched["a"].cooling_until == 1060.0


def test_it_tells_how_long_until_somebody_has_cooled_down() -> None:
    watched = Watched("a", "b", Endpoint("c", tier="smart"))
    pool = watched.pool

    def seconds(*exclude: str, **wanted: Any) -> float | None:
        return pool.seconds_to_cool(Request(**wanted), exclude=exclude, now=watched.clock.now())

    assert seconds() is None
    watched.call("a", Outcome.throttled(9.0))
    watched.call("b", Outcome.throttled(4.0))
    watched.call("c", Outcome.throttled(1.0))
    assert seconds() == 1.0
    assert seconds("c") == 4.0
    assert seconds("c", "b") == 9.0
    assert seconds(tier="smart") == 1.0
    assert seconds(tier="default") == 4.0
    pool.force_open("b")
    assert seconds("c") == 9.0  # cooling down will not help an endpoint that is held open
    watched.clock.advance(9.0)
    assert seconds() is None


def test_it_tells_whether_anybody_may_be_asked_tried_or_not() -> None:
    watched = Watched("a", Endpoint("b", tier="smart", priority=1))
    pool = watched.pool

    def anybody(*exclude: str, **wanted: Any) -> bool:
        return pool.anybody(Request(**wanted), exclude=exclude, now=watched.clock.now())

    assert anybody()
    assert anybody("a")
    assert not anybody("a", "b")
    assert anybody(tier="smart")
    assert not anybody(tier="other")
    watched.call("a", Outcome.throttled(5.0))
    assert not anybody("b")
    watched.clock.advance(5.0)
    assert anybody("b")
    watched.break_("a")
    assert not anybody("b")
    watched.clock.advance(5.0)
    assert anybody("b")  # for a probe


# -- probes ----------------------------------------------------------------------------------------


def test_a_probe_goes_out_as_soon_as_it_is_due_and_one_at_a_time() -> None:
    watched = Watched("a", "b", "c", balancer="peak_ewma")
    watched.break_("a")
    assert watched.asked() == {"b", "c"}
    watched.clock.advance(watched["a"].open_until - watched.clock.now())
    probe = watched.pool.acquire()
    assert (probe.endpoint.id, probe.probe) == ("a", True)
    held = [watched.pool.acquire() for _ in range(50)]
    assert {lease.endpoint.id for lease in held} == {"b", "c"}
    assert not any(lease.probe for lease in held)
    probe.settle(Outcome.abandoned())
    again = watched.pool.acquire()
    assert again.probe
    again.settle(Outcome.ok(seconds=0.1))
    assert watched["a"].breaker_state is BreakerState.CLOSED
    assert "a" in watched.asked()


def test_a_call_that_must_not_probe_leaves_it_to_others_while_somebody_is_well() -> None:
    watched = Watched("a", "b")
    watched.break_("a")
    watched.clock.advance(10.0)
    assert {watched.pool.acquire(probe=False).endpoint.id for _ in range(20)} == {"b"}
    assert watched.pool.acquire().endpoint.id == "a"


def test_a_call_that_must_not_probe_does_when_nobody_else_will_do() -> None:
    watched = Watched("a", "b", Endpoint("c", tier="smart"))
    watched.break_("a")
    watched.clock.advance(10.0)
    lease = watched.pool.acquire(Request(tier="default"), exclude=["b"], probe=False)
    assert (lease.endpoint.id, lease.probe) == ("a", True)
    lease.settle(Outcome.abandoned())
    watched.pool.drain("b")
    watched.pool.drain("c")
    assert watched.pool.acquire(probe=False).probe


def test_a_probe_is_for_requests_the_endpoint_may_serve() -> None:
    watched = Watched("a", Endpoint("b", tier="smart"))
    watched.break_("a")
    watched.clock.advance(10.0)
    assert watched.asked(tier="smart") == {"b"}
    assert watched.pool.acquire(exclude=["a"]).endpoint.id == "b"
    assert watched["a"].breaker_state is BreakerState.OPEN


def test_while_the_only_endpoint_is_probed_nobody_else_gets_through() -> None:
    watched = Watched("a")
    watched.break_("a")
    watched.clock.advance(10.0)
    probe = watched.pool.acquire()
    error = refusal(watched)
    assert error.why == {"a": "circuit half open, a probe is under way"}
    assert error.retry_after is None
    probe.settle(Outcome.ok(seconds=0.1))
    assert not watched.pool.acquire().probe


# -- nobody ----------------------------------------------------------------------------------------


def test_every_endpoint_has_its_reason_and_the_soonest_is_named() -> None:
    watched = Watched(
        "asked",
        "cooling",
        "drained",
        "forced",
        "offline",
        "open",
        Endpoint("smart", tier="smart"),
        Endpoint("nought", weight=0),
        breaker=BreakerPolicy(open_for=80, max_open=80),
    )
    watched.call("cooling", Outcome.throttled(12.34))
    watched.pool.drain("drained")
    watched.pool.force_open("forced")
    watched.pool.set_status("offline", EndpointStatus.OFFLINE)
    watched.break_("open")
    left = watched["open"].open_until - 1000.0
    error = refusal(watched, exclude=("asked",), tier="default")
    assert error.why == {
        "asked": "was asked already",
        "cooling": "cooling down for 12.3 s more",
        "drained": "draining",
        "forced": "forced open",
        "offline": "offline",
        "open": f"circuit open for {left:.1f} s more",
        "smart": "is of tier smart, not default",
        "nought": "weight 0",
    }
    assert error.retry_after == 0.0  # whoever was asked already may be asked again
    watched.pool.drain("asked")
    assert refusal(watched, tier="default").retry_after == pytest.approx(12.34)
    watched.pool.drain("cooling")
    assert refusal(watched, tier="default").retry_after == pytest.approx(left)
    watched.pool.drain("open")
    assert refusal(watched, tier="default").retry_after is None


def test_an_endpoint_is_free_when_the_last_of_its_reasons_ends() -> None:
    watched = Watched("a")
    member = watched["a"]
    watched.break_("a")
    member.cooling_until = 1100.0
    assert member.free_at(1000.0) == 1100.0
    member.ejected_until = 1200.0
    assert member.free_at(1000.0) == 1200.0
    assert member.free_at(5000.0) == 5000.0
    watched.pool._publish(1000.0)
    assert refusal(watched).retry_after == pytest.approx(200.0)


def test_an_empty_pool_says_so() -> None:
    error = refusal(Watched())
    assert str(error) == "the pool is empty"
    assert (error.why, error.retry_after) == ({}, None)


def test_ejection_ends_by_itself() -> None:
    watched = Watched("a", "b")
    watched["a"].ejected_until = 1030.0
    watched.pool._publish(1000.0)
    assert watched.asked() == {"b"}
    assert watched["a"].why_not(1010.0) == "ejected for 20.0 s more"
    watched.clock.advance(30.0)
    assert watched.asked() == {"a", "b"}


def test_the_picture_is_the_same_object_while_nothing_changes() -> None:
    """Balancers keep what they worked out for it."""
    watched = Watched("a", "b")
    before = watched.pool.snapshot
    watched.asked()
    watched.clock.advance(1000.0)
    watched.asked()
    assert watched.pool.snapshot is before
