"""Requests, outcomes, answers: what is asked, what came back, who is blamed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Answer, AttemptReport, Outcome, Request, Usage, Verdict
from langchain_cluster.model.endpoint import Price, Role


def test_tokens_cost_what_their_price_says_per_million() -> None:
    price = Price(input=3.0, output=15.0, cached_input=0.3)
    assert Usage(1_000_000, 0).cost(price) == pytest.approx(3.0)
    assert Usage(0, 1_000_000).cost(price) == pytest.approx(15.0)
    assert Usage(1000, 100, 400).cost(price) == pytest.approx((600 * 3 + 400 * 0.3 + 100 * 15) / 1e6)


def test_cached_tokens_cost_as_much_as_others_where_no_price_says_otherwise() -> None:
    assert Usage(1000, 0, 400).cost(Price(input=3.0)) == pytest.approx(0.003)
    assert Usage(1000, 0, 1000).cost(Price(input=3.0, cached_input=0.0)) == 0.0


def test_more_cached_tokens_than_input_do_not_earn_money() -> None:
    assert Usage(100, 0, 500).cost(Price(input=3.0, cached_input=0.0)) == 0.0


@given(
    st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1e3), st.floats(0, 1e3)
)
def test_a_cost_is_never_negative(tokens: int, output: int, cached: int, price: float, dear: float) -> None:
    assert Usage(tokens, output, cached).cost(Price(price, dear, price / 2)) >= 0


def test_a_plain_request_may_be_served_by_anybody() -> None:
    assert not Request().particular
    assert not Request(key="k", zone="z", tenant="t", agent="a", priority="critical").particular


def test_conditions_may_be_given_as_lists_and_one_as_a_text() -> None:
    request = Request(role="embedding", tags=["x", "y"], needs="tools")  # type: ignore[arg-type]
    assert request == Request(role=Role.EMBEDDING, tags=frozenset({"x", "y"}), needs=frozenset({"tools"}))
    for wrong in ({"role": "judge"}, {"tags": 5}, {"needs": [1]}):
        with pytest.raises(ConfigError, match="request"):
            Request(**wrong)


@pytest.mark.parametrize(
    "request_",
    [
        Request(tags=frozenset({"x"})),
        Request(tier="fast"),
        Request(model="m"),
        Request(needs=frozenset({"tools"})),
        Request(role=Role.EMBEDDING),
    ],
    ids=["tags", "tier", "model", "needs", "role"],
)
def test_a_request_with_conditions_is_particular(request_: Request) -> None:
    assert request_.particular


def test_an_ok_outcome_is_an_answer() -> None:
    usage = Usage(1, 2)
    outcome = Outcome.ok(seconds=2.0, first_token_seconds=0.5, usage=usage, value="hi", storable=False)
    assert outcome == Outcome(Verdict.OK, 2.0, 0.5, usage, "hi", storable=False)
    assert Outcome.ok().storable


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (Outcome.failed, Verdict.TRANSIENT),
        (Outcome.misconfigured, Verdict.CONFIG),
        (Outcome.rejected, Verdict.CALLER),
    ],
)
def test_what_went_wrong_is_kept_with_its_reason(make: object, verdict: Verdict) -> None:
    error = TimeoutError("too slow")
    outcome = make(error, seconds=3.0)  # type: ignore[operator]
    assert (outcome.verdict, outcome.error, outcome.reason, outcome.seconds) == (
        verdict,
        error,
        "too slow",
        3.0,
    )
    told = make("no luck")  # type: ignore[operator]
    assert isinstance(told.error, RuntimeError)
    assert str(told.error) == told.reason == "no luck"
    bare = make()  # type: ignore[operator]
    assert str(bare.error) == bare.reason == verdict.value


def test_an_error_without_a_text_is_told_by_its_kind() -> None:
    assert Outcome.failed(TimeoutError()).reason == "TimeoutError"


def test_a_reason_is_short() -> None:
    outcome = Outcome.failed("x" * 1000)
    assert len(outcome.reason) == 200
    assert len(str(outcome.error)) == 1000


def test_the_status_is_kept() -> None:
    assert Outcome.failed(status=503).status == 503
    assert Outcome.misconfigured(status=401).status == 401
    assert Outcome.throttled().status == 429
    assert Outcome.throttled(status=503).status == 503


def test_a_throttled_outcome_says_for_how_long() -> None:
    outcome = Outcome.throttled(3.0, seconds=0.1)
    assert (outcome.verdict, outcome.retry_after, outcome.reason) == (Verdict.THROTTLED, 3.0, "throttled")
    assert outcome.seconds == 0.1
    assert Outcome.throttled().retry_after is None
    error = OSError("slow down")
    assert Outcome.throttled(error=error).error is error


def test_an_abandoned_outcome_has_nothing_to_blame() -> None:
    outcome = Outcome.abandoned(seconds=1.0)
    assert (outcome.verdict, outcome.error, outcome.reason) == (Verdict.ABANDONED, None, "abandoned")
    assert outcome.seconds == 1.0


def test_an_attempt_is_told_in_one_line() -> None:
    report = AttemptReport(2, "gpu-3", Verdict.TRANSIENT, 30.04, "timeout")
    assert str(report) == "attempt 2 on gpu-3: timeout after 30.0 s"


def test_an_answer_says_where_it_came_from() -> None:
    answer = Answer("hi", "miss", "a", "fast", 2, True, 1.5, 0.01)
    assert answer.as_metadata() == {
        "endpoint": "a",
        "attempts": 2,
        "cache": "miss",
        "tier": "fast",
        "hedged": True,
        "seconds": 1.5,
        "cost_usd": 0.01,
    }


def test_the_verdicts_are_the_eight_of_the_table() -> None:
    assert [verdict.value for verdict in Verdict] == [
        "ok",
        "transient",
        "throttled",
        "config",
        "overflow",
        "caller",
        "stale_loop",
        "abandoned",
    ]
