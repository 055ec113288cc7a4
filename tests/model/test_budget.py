"""A budget that cannot be meant is told at once."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import Budget, ClusteredLLM, ConfigError, Endpoint, Price
from langchain_cluster.testing import ScriptedModel

PAID = Endpoint("a", ScriptedModel("fine"), price=Price(output=1.0))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"amount": -1}, "-1 should be greater than or equal to 0"),
        ({"amount": float("nan")}, "finite"),
        ({"amount": float("inf")}, "finite"),
        ({"amount": "5 dollars"}, "is no amount of USD"),
        ({"amount": True}, "is no amount of USD: write a number"),
        ({}, "amount"),
        ({"amount": 1, "per": "fortnight"}, "expected one of hour, day, week, month, total"),
        ({"amount": 1, "scope": "team"}, "expected one of cluster, agent, tenant"),
        ({"amount": 1, "name": "planner"}, "name 'planner' means nothing to a cluster's budget"),
        ({"amount": 1, "scope": "agent", "name": ""}, "name"),
        ({"amount": 1, "tell_at": (1.0,)}, "1.0 is not above 0 and below 1"),
        ({"amount": 1, "tell_at": (0.0,)}, "0.0 is not above 0 and below 1"),
        ({"amount": 1, "tell": 3}, "unknown key 'tell'"),
    ],
)
def test_a_budget_that_cannot_be_meant(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        Budget(**given)
    assert told in str(error.value)
    with pytest.raises(ConfigError) as error:
        ClusteredLLM([PAID], budgets=[given])
    assert str(error.value).startswith("budgets.0")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (5.0, "budgets: float is not a list of Budget"),
        ("5 a day", "budgets: str is not a list of Budget"),
        ([5.0], "budgets.0: float is not a Budget"),
        ([Budget(amount=1), Budget(amount=2)], "budgets.1: cluster has a budget per day already, budgets.0"),
        ([{"amount": 1, "scope": "agent"}] * 2, "budgets.1: each agent has a budget per day already"),
    ],
)
def test_budgets_that_cannot_be_meant(given: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        ClusteredLLM([PAID], budgets=given)
    assert told in str(error.value)


def test_without_a_price_a_budget_would_count_nothing() -> None:
    with pytest.raises(ConfigError, match="no endpoint has a price"):
        ClusteredLLM([Endpoint("a", ScriptedModel("fine"))], budgets=Budget(amount=1))


def test_one_budget_needs_no_list_and_may_be_written_in_a_file() -> None:
    assert ClusteredLLM([PAID], budgets=Budget(amount=1)).cluster.spending.budgets == (Budget(amount=1),)
    endpoint = {"id": "a", "model": "scripted:m", "price": {"output": 1.0}}
    config = {"endpoints": [endpoint], "budgets": [{"amount": 5, "per": "month", "scope": "tenant"}]}
    llm = ClusteredLLM.from_config(config)
    assert llm.cluster.spending.budgets == (Budget(amount=5.0, per="month", scope="tenant"),)
    with pytest.raises(ConfigError, match=r"budgets\.0\.per"):
        ClusteredLLM.from_config({**config, "budgets": [{"amount": 5, "per": "year"}]})
