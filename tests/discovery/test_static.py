"""A roster that is written down keeps the contract, without waiting."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from langchain_cluster import Endpoint, StaticDiscovery
from tests.contracts.discovery import DiscoveryContract


class Written:
    wait = 0.0

    def __init__(self) -> None:
        self.source = StaticDiscovery([])

    def put(self, endpoints: Mapping[str, float]) -> None:
        self.source.update([Endpoint(id, weight=weight) for id, weight in endpoints.items()])


class TestStaticDiscovery(DiscoveryContract):
    @pytest.fixture
    def registry(self) -> Written:
        return Written()
