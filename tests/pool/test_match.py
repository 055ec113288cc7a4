"""Windows and profiles narrow who is asked, and never to nobody; a refusal tells what narrowed to what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from langchain_cluster.errors import ConfigError, NoEndpointAvailable
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus
from langchain_cluster.pool.match import Doubts, doubt, doubts_of
from tests.pool.watched import Watched


def said(**profile: Any) -> Any:
    """A model that says something of itself."""
    return SimpleNamespace(profile=profile)


def refusal(watched: Watched, exclude: tuple[str, ...] = (), **wanted: Any) -> NoEndpointAvailable:
    with pytest.raises(NoEndpointAvailable) as caught:
        watched.pool.acquire(Request(**wanted), exclude=exclude)
    return caught.value


def sizes(**options: Any) -> Watched:
    return Watched(
        Endpoint("small", context_window=1_000),
        Endpoint("large", context_window=8_000),
        Endpoint("unknown"),
        **options,
    )


# -- windows ---------------------------------------------------------------------------------------


def test_a_prompt_goes_where_it_may_fit() -> None:
    watched = sizes()
    assert watched.asked() == {"small", "large", "unknown"}
    assert watched.asked(tokens=1_000) == {"small", "large", "unknown"}
    assert watched.asked(tokens=1_001) == {"large", "unknown"}
    assert watched.asked(tokens=8_001) == {"unknown"}


def test_the_answer_needs_its_place_too() -> None:
    watched = sizes()
    assert watched.asked(tokens=900, reserve=100) == {"small", "large", "unknown"}
    assert watched.asked(tokens=900, reserve=101) == {"large", "unknown"}
    assert watched.asked(reserve=1_001) == {"large", "unknown"}


def test_a_prompt_too_long_for_all_goes_to_the_largest() -> None:
    watched = sizes()
    watched.pool.remove("unknown")
    assert watched.asked(tokens=1_000_000) == {"large"}
    watched.pool.drain("large")
    assert watched.asked(tokens=1_000_000) == {"small"}


@pytest.mark.parametrize("gone", ["offline", "draining", "forced", "ill"])
def test_who_will_not_come_back_by_itself_is_not_waited_for(gone: str) -> None:
    """The small one's own error says what to do about the length; that nobody is there does not."""
    watched = sizes()
    watched.pool.remove("unknown")
    if gone == "forced":
        watched.pool.force_open("large")
    elif gone == "ill":
        watched.pool.mark("large", healthy=False)
    else:
        watched.pool.set_status("large", EndpointStatus(gone))
    assert watched.asked(tokens=5_000) == {"small"}


def test_who_cools_down_is_waited_for() -> None:
    watched = sizes()
    watched.pool.remove("unknown")
    watched.call("large", Outcome.throttled(3.0))
    error = refusal(watched, tokens=5_000)
    assert error.why == {
        "small": "has a window of 1000 tokens, and at least 5000 are needed",
        "large": "cooling down for 3.0 s more",
    }
    assert error.retry_after == pytest.approx(3.0)
    assert str(error) == (
        "no endpoint available: of 2 endpoints a length of 5000 tokens or more leaves 1,"
        " and none of those may be asked now (large: cooling down for 3.0 s more; small: has a window of"
        " 1000 tokens, and at least 5000 are needed); the first may be asked again in 3.0 s"
    )
    wanted = Request(tokens=5_000)
    assert watched.pool.seconds_to_cool(wanted, now=watched.clock.now()) == pytest.approx(3.0)
    assert not watched.pool.anybody(wanted, now=watched.clock.now())
    assert watched.pool.anybody(Request(), now=watched.clock.now())


def test_a_place_is_waited_for_where_the_prompt_fits() -> None:
    one = Capacity(max_connections=1)
    watched = Watched(
        Endpoint("small", context_window=1_000, capacity=one),
        Endpoint("large", context_window=8_000, capacity=one),
    )
    wanted = Request(tokens=5_000)
    small, large = watched.lease_on("small"), watched.lease_on("large")
    assert watched.pool.full(wanted)
    place = watched.pool.line.join(wanted, now=watched.clock.now())
    small.settle(Outcome.ok())
    assert place.lease is None
    assert watched.pool.full(wanted)
    large.settle(Outcome.ok())
    assert place.lease is not None
    assert place.lease.endpoint.id == "large"


def test_the_conditions_of_a_request_come_before_its_length() -> None:
    watched = Watched(
        Endpoint("small", context_window=1_000, tier="own"), Endpoint("large", context_window=8_000)
    )
    assert watched.asked(tokens=5_000) == {"large"}
    assert watched.asked(tokens=5_000, tier="own") == {"small"}  # the only one of that tier


def test_a_later_level_is_asked_for_what_the_first_cannot_hold() -> None:
    watched = Watched(
        Endpoint("small", context_window=1_000), Endpoint("large", context_window=8_000, priority=1)
    )
    assert watched.asked(tokens=500) == {"small"}
    assert watched.asked(tokens=5_000) == {"large"}


def test_a_probe_is_not_made_with_a_prompt_that_does_not_fit() -> None:
    watched = Watched(Endpoint("small", context_window=1_000), "large")
    watched.break_("small")
    watched.clock.advance(60.0)
    assert watched.pool.acquire(Request(tokens=5_000)).endpoint.id == "large"
    assert watched.pool.acquire().endpoint.id == "small"


@pytest.mark.parametrize("name", ["tokens", "reserve"])
@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), "many", True])
def test_a_number_of_tokens_is_one(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"request: {name} .* is not an integer >= 0"):
        Request(**{name: value})


# -- what profiles say -----------------------------------------------------------------------------


def test_a_profile_speaks_for_what_was_not_given() -> None:
    watched = Watched(
        Endpoint("blind", said(image_inputs=False)),
        Endpoint("seer", said(image_inputs=True)),
        Endpoint("unknown"),
        Endpoint("declared", said(image_inputs=False), capabilities={"vision"}),
    )
    assert watched.asked(needs=frozenset({"vision"})) == {"seer", "unknown", "declared"}
    assert watched.asked(needs=frozenset({"tools"})) == {"blind", "seer", "unknown"}
    assert watched.asked() == {"blind", "seer", "unknown", "declared"}


def test_a_profile_never_leaves_nobody() -> None:
    watched = Watched(Endpoint("a", said(image_inputs=False)), Endpoint("b", said(image_inputs=False)))
    assert watched.asked(needs=frozenset({"vision"})) == {"a", "b"}


def test_a_profile_of_one_that_is_gone_keeps_nobody_out() -> None:
    watched = Watched(Endpoint("blind", said(image_inputs=False)), Endpoint("seer"))
    watched.pool.drain("seer")
    assert watched.asked(needs=frozenset({"vision"})) == {"blind"}


def test_the_window_of_a_profile_is_for_the_prompt() -> None:
    watched = Watched(
        Endpoint("a", said(max_input_tokens=1_000)),
        Endpoint("b", said(max_input_tokens=9_000)),
        Endpoint("c", said(max_input_tokens=1_000), context_window=5_000),
    )
    assert watched.asked(tokens=1_000, reserve=4_000) == {"a", "b", "c"}
    assert watched.asked(tokens=1_001) == {"b", "c"}
    assert watched.asked(tokens=5_001) == {"b"}


def test_a_profile_is_doubted_before_a_window() -> None:
    blind = Endpoint("blind", said(image_inputs=False))
    small = Endpoint("small", said(image_inputs=True), context_window=1_000)
    watched = Watched(blind, small)
    seen = frozenset({"vision"})
    assert watched.asked(tokens=5_000, needs=seen) == {"blind"}
    assert watched.asked(tokens=500, needs=seen) == {"small"}


def test_of_windows_that_are_too_small_the_largest_of_those_that_can_is_asked() -> None:
    blind = Endpoint("blind", said(image_inputs=False, max_input_tokens=4_000))
    seers = [Endpoint(f"seer-{n}", said(max_input_tokens=n)) for n in (1_000, 2_000)]
    assert Watched(blind, *seers).asked(tokens=9_000, needs=frozenset({"vision"})) == {"seer-2000"}
    assert Watched(blind).asked(tokens=9_000, needs=frozenset({"vision"})) == {"blind"}


def test_nobody_is_doubted_for_nothing() -> None:
    assert doubts_of([], Request(tokens=5)) == Doubts(tokens=5, enough=0)
    assert doubt(Endpoint("a", context_window=1), Doubts()) is None


# -- what is told ----------------------------------------------------------------------------------


def test_it_tells_how_each_condition_narrowed_the_choice() -> None:
    watched = Watched(
        Endpoint("gpu-1", tier="gpt-4", tags={"eu"}, capabilities={"tools"}),
        Endpoint("gpu-2", tier="gpt-4"),
        Endpoint("gpu-3"),
    )
    wanted = {"tier": "gpt-4", "tags": frozenset({"eu"}), "needs": frozenset({"tools", "vision"})}
    error = refusal(watched, **wanted)
    assert str(error).startswith(
        "no endpoint available: of 3 endpoints tier 'gpt-4' leaves 2, tag 'eu' leaves 1, vision leaves 0 ("
    )
    assert error.why["gpu-1"] == "cannot do vision"
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"role": "embedding"}, "role embedding leaves 0"),
        ({"tier": "smart"}, "tier 'smart' leaves 0"),
        ({"tags": frozenset({"eu", "us"})}, "tag 'us' leaves 0"),
        ({"model": "qwen"}, "model 'qwen' leaves 0"),
        ({"needs": frozenset({"tools", "audio"})}, "audio leaves 0"),
    ],
)
def test_the_condition_that_left_nobody_is_named(wanted: Any, told: str) -> None:
    watched = Watched(Endpoint("a", tags={"eu"}, capabilities={"tools"}))
    assert str(refusal(watched, **wanted)).startswith(f"no endpoint available: of 1 endpoint {told} (a: ")


def test_what_profiles_say_is_told_apart() -> None:
    watched = Watched(Endpoint("blind", said(image_inputs=False)), Endpoint("seer"))
    watched.call("seer", Outcome.throttled(3.0))
    error = refusal(watched, needs=frozenset({"vision"}))
    assert "of 2 endpoints what profiles say leaves 1, and none of those may be asked now" in str(error)
    assert error.why["blind"] == "cannot do vision, by its model's profile"


def test_who_came_furthest_is_told_first() -> None:
    watched = Watched(*(f"e{n}" for n in range(20)), Endpoint("it", tier="smart"))
    watched.pool.drain("it")
    error = refusal(watched, tier="smart")
    assert "of 21 endpoints tier 'smart' leaves 1, and none of those may be asked now (it: draining; " in str(
        error
    )
    assert len(error.why) == 21


def test_a_request_without_conditions_tells_no_story() -> None:
    watched = Watched("a")
    watched.pool.drain("a")
    assert str(refusal(watched)) == "no endpoint available (a: draining)"
