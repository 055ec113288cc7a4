"""Processes that share what they were answered through a plain Valkey, which may die."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest

pytest.importorskip("redis")
pytest.importorskip("numpy")

from langchain_cluster.cache.semantic import RedisJournals, SemanticCache
from langchain_cluster.testing.contracts import JournalContract
from langchain_cluster.testing.contracts.journal import MOST
from tests.cache.semantic.embedding import WordEmbeddings
from tests.services.valkey import INSTALL, Valkey, binary
from tests.services.valkey_cluster import ValkeyCluster

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
ROOT = Path(__file__).parents[2]
ASKED, AGAIN = "How do I reset my password?", "How can I recover my password please"
numbers = count()


class Member:
    """A process of its own."""

    def __init__(self, url: str, namespace: str, colour: str) -> None:
        command = [sys.executable, "-m", "tests.services.semantic_member", url, namespace, colour]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        word, _, known = self._line().partition(" ")
        assert word == "ready"
        self.knew = int(known)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._line()

    def knows(self, entries: int) -> bool:
        return self.say("known") == str(entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def soon(holds: Callable[[], Any], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_one_process_was_answered_the_others_serve(valkey_url: str, colour: str) -> None:
    namespace = f"fleet-{colour}-{os.getpid()}"
    with Member(valkey_url, namespace, colour) as one, Member(valkey_url, namespace, colour) as other:
        source, _, said = one.say(f"ask {ASKED}").partition(" ")
        assert source == "miss"
        soon(lambda: other.knows(1))
        assert other.say(f"ask {AGAIN}") == f"semantic {said}"
        with Member(valkey_url, namespace, colour) as late:
            assert late.knew == 1, "it catches up before its first question"
            assert late.say(f"ask {AGAIN}") == f"semantic {said}"
            other.say("clear")
            soon(lambda: one.knows(0) and late.knows(0))
            assert one.say(f"ask {AGAIN}").startswith("miss")
        with Member(valkey_url, namespace, colour) as last:
            assert last.knew == 1, "what was cleared stays so"
        with Member(valkey_url, f"{namespace}-other", colour) as stranger:
            assert stranger.knew == 0


def test_a_server_that_dies_costs_the_sharing_alone_and_comes_back() -> None:
    caches = []

    def cache(url: str) -> SemanticCache:
        caches.append(SemanticCache(WordEmbeddings(), share=RedisJournals.from_url(url, timeout=5.0)))
        return caches[-1]

    with Valkey() as server:
        one, other = cache(server.url), cache(server.url)
        failed: list[str] = []
        one.subscribe(lambda what, error: failed.append(error))
        one.store(ASKED, "Click on it.")
        other.start()
        soon(lambda: len(other) == 1)
        server.kill()
        soon(lambda: failed)
        one.store("Where is the station?", "There.")
        for known in (one, other):
            assert known.lookup(AGAIN).answer == "Click on it."  # type: ignore[union-attr]
        assert len(other) == 1
        server.start()  # it has forgotten everything
        soon(lambda: len(other) == 2)
        assert failed == ["CacheUnavailable"]
        for known in caches:
            known.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


class TestJournalsInACluster(JournalContract):
    @pytest.fixture
    def journals(self, cluster: ValkeyCluster) -> Iterator[RedisJournals]:
        made = RedisJournals.from_url(
            cluster.url, namespace=f"journal-{next(numbers)}", max_records=MOST, timeout=10.0
        )
        yield made
        made.clients.close()
