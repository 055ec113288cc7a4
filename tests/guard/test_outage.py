"""Since when something is out of order."""

from __future__ import annotations

from langchain_cluster.guard.budget import WINDOW, RetryBudget
from langchain_cluster.guard.outage import Outage


def test_an_outage_begins_with_the_first_failure_and_ends_once() -> None:
    outage = Outage()
    assert outage.ended(5.0) is None
    assert outage.began(10.0)
    assert not outage.began(12.0)
    assert repr(outage) == "<Outage since 10.0 s>"
    assert outage.ended(15.0) == 5.0
    assert outage.ended(16.0) is None
    assert repr(outage) == "<Outage, none>"


def test_a_clock_that_went_back_makes_no_negative_outage() -> None:
    outage = Outage()
    outage.began(10.0)
    assert outage.ended(5.0) == 0.0


def test_a_refused_retry_is_news_once_in_a_window() -> None:
    budget = RetryBudget(0.2, 0.0)
    assert [budget.news(at) for at in (0.0, 1.0, WINDOW - 0.1, WINDOW, WINDOW + 1.0)] == [
        True, False, False, True, False,
    ]  # fmt: skip
    assert budget.news(-100.0)  # a clock that went back
