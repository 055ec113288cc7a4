"""Every store of ours keeps the contract."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster.cache import MemoryCache
from langchain_cluster.cache.order import ORDERS
from langchain_cluster.testing import FakeClock
from langchain_cluster.testing.contracts import CacheStoreContract


class TestMemoryCache(CacheStoreContract):
    @pytest.fixture(params=sorted(ORDERS))
    def store(self, request: pytest.FixtureRequest) -> MemoryCache:
        self.clock = FakeClock(0.0)
        return MemoryCache(policy=request.param, clock=self.clock.now, seed=1)

    def pass_time(self, store: Any, seconds: float) -> None:
        self.clock.advance(seconds)
