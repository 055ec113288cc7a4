"""Caches that fail and recover, discoveries that do, retries that are refused: each transition is told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache.memory import MemoryCache
from langchain_cluster.model.events import CacheFailed, CacheRecovered, RetryBudgetEmpty
from langchain_cluster.testing import FakeClock, ScriptedModel


class Flaky(MemoryCache):
    """A cache that can be away."""

    name = "flaky"
    away = False

    def get(self, key: str) -> bytes | None:
        if self.away:
            raise ConnectionError("away")
        return super().get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if self.away:
            raise ConnectionError("away")
        super().set(key, value, ttl)

    def mget(self, keys: Any) -> Any:
        return [self.get(key) for key in keys]


@pytest.mark.parametrize("first", ["1", "4"])  # a hit, a miss
def test_a_cache_that_was_away_and_is_back_is_told_once(first: str) -> None:
    clock, cache = FakeClock(), Flaky()
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))], cache=cache, clock=clock)
    heard: list[Any] = []
    llm.cluster.events.subscribe(heard.append)
    llm.invoke("1")
    cache.away = True
    for question in "23":
        llm.invoke(question)
        clock.advance(1.0)
    cache.away = False
    llm.invoke(first)
    assert any(isinstance(event, CacheRecovered) for event in heard)
    for question in "567":
        llm.invoke(question)
    told = [type(e).__name__ for e in heard if isinstance(e, CacheFailed | CacheRecovered)]
    assert told == ["CacheFailed"] * 4 + ["CacheRecovered"]
    back = next(e for e in heard if isinstance(e, CacheRecovered))
    assert (back.operation, back.seconds) == ("lookup", 2.0)


def test_retries_that_are_refused_are_told_once_in_ten_seconds() -> None:
    clock = FakeClock(auto=True)
    llm = ClusteredLLM(
        [Endpoint(id, ScriptedModel(ConnectionError("no"))) for id in "ab"],
        breaker=None, clock=clock, policy={"attempts": 3, "retry_budget": 0.0},
    )  # fmt: skip
    heard: list[Any] = []
    llm.cluster.events.subscribe(heard.append)
    for _ in range(60):
        with pytest.raises(Exception, match="no"):
            llm.invoke("hello")
    told = [e for e in heard if isinstance(e, RetryBudgetEmpty)]
    assert told
    assert all(later.at - earlier.at >= 10.0 for earlier, later in pairwise(told))
    assert {e.ratio for e in told} == {0.0}
    assert len(told) < 10
