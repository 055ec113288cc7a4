"""Every journal of ours keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from langchain_cluster.testing import MemoryJournals
from langchain_cluster.testing.contracts import JournalContract
from langchain_cluster.testing.contracts.journal import MOST

numbers = count()


class TestMemoryJournals(JournalContract):
    @pytest.fixture
    def journals(self) -> MemoryJournals:
        return MemoryJournals(max_records=MOST)


class TestRedisJournals(JournalContract):
    @pytest.fixture
    def journals(self, valkey_url: str) -> Iterator[object]:
        pytest.importorskip("redis")
        from langchain_cluster.cache.semantic import RedisJournals

        made = RedisJournals.from_url(
            valkey_url, namespace=f"journal-{next(numbers)}", max_records=MOST, timeout=10.0
        )
        yield made
        made.clients.close()
