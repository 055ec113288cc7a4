"""A semantic cache whose vectors are compared in a Redis that has a search module; and one that has none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

numpy = pytest.importorskip("numpy")
redis = pytest.importorskip("redis")

from langchain_cluster.cache.semantic import RediSearch, SemanticCache  # noqa: E402
from langchain_cluster.errors import CacheUnavailable, ConfigError  # noqa: E402
from langchain_cluster.model.call import Meaning, Request  # noqa: E402
from tests.cache.semantic.embedding import WordEmbeddings  # noqa: E402
from tests.services.search_server import INSTALL_SEARCH, search_server  # noqa: E402
from tests.services.valkey import Valkey  # noqa: E402

pytestmark = pytest.mark.services
ASKED, AGAIN = "How do I reset my password?", "How can I recover my password please"


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    found = search_server()
    if found is None:
        pytest.skip(f"no Redis with a search module here: {INSTALL_SEARCH}")
    with found:
        yield found


@pytest.fixture
def search(server: Valkey) -> Iterator[RediSearch]:
    made = RediSearch.from_url(server.url, timeout=10.0, connect_timeout=10.0)
    yield made
    made.close()


@pytest.fixture
def client(server: Valkey) -> Iterator[Any]:
    with redis.Redis.from_url(server.url, protocol=2) as client:
        yield client


def vectors(count: int, dimensions: int = 16) -> Any:
    made = numpy.random.default_rng(3).standard_normal((count, dimensions)).astype(numpy.float32)
    return made / numpy.linalg.norm(made, axis=1, keepdims=True)


def found_by_hand(given: Any, vector: Any, count: int) -> list[int]:
    return [int(place) for place in numpy.argsort(-(given @ vector))[:count]]


def test_the_nearest_is_found_and_what_is_removed_is_not(search: RediSearch) -> None:
    index, given = search(16), vectors(200)
    assert index.nearest(given[0], 3) == []
    for id, vector in enumerate(given):
        index.add(id, vector)
    assert len(index) == 200
    for place in (0, 57, 199):
        found = index.nearest(given[place], 3)
        assert [id for _, id in found] == found_by_hand(given, given[place], 3)
        assert found[0][0] == pytest.approx(1.0, abs=1e-5)
        index.remove(place)
        assert index.nearest(given[place], 1)[0][1] != place
    index.remove(1_000)
    assert len(index) == 197


def test_scopes_and_lengths_do_not_mix(search: RediSearch) -> None:
    one, other, longer = search(16), search(16), search(32)
    first, second = vectors(2)
    one.add(1, first)
    other.add(2, first)
    longer.add(3, vectors(1, 32)[0])
    one.add(1, second)
    assert [id for _, id in one.nearest(first, 9)] == [1]
    assert one.nearest(second, 9)[0][0] == pytest.approx(1.0, abs=1e-5)
    assert [id for _, id in other.nearest(first, 9)] == [2]
    assert [id for _, id in longer.nearest(vectors(1, 32)[0], 9)] == [3]


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_cache_finds_by_it_what_means_the_same(search: RediSearch, awaited: bool) -> None:
    cache = SemanticCache(WordEmbeddings(), index=search, max_entries=30)

    async def seek(question: Any) -> Any:
        hit = await cache.alookup(question) if awaited else cache.lookup(question)
        return None if hit is None else hit.answer

    for scope in ("a", "b"):
        asked = Request(meaning=Meaning(ASKED, scope))
        if awaited:
            await cache.astore(asked, scope)
        else:
            cache.store(asked, scope)
    assert [await seek(Request(meaning=Meaning(AGAIN, scope))) for scope in "abc"] == ["a", "b", None]
    for n in range(40):
        cache.store(f"question about thing{n}", str(n))
    assert await seek("the question about thing39 please") == "39"
    assert await seek("the question about thing3 please") is None
    assert cache.stats().evictions == 12


def test_what_a_server_has_lost_it_gets_again(search: RediSearch, client: Any) -> None:
    one, other, given = search(16), search(16), vectors(700)
    for id, vector in enumerate(given):
        (one if id < 600 else other).add(id, vector)
    client.flushall()
    assert [id for _, id in other.nearest(given[650], 1)] == [650]
    assert [id for _, id in one.nearest(given[7], 1)] == [7]
    assert len(client.keys("lc:vectors:*")) == 700


def test_what_nobody_uses_goes_by_itself(server: Valkey, client: Any) -> None:
    search = RediSearch.from_url(server.url, timeout=10.0, idle=1.0)
    index, given = search(16), vectors(3)
    for id, vector in enumerate(given):
        index.add(id, vector)
    name = search.name(16)
    end = time.monotonic() + 30.0
    while name.encode() in client.execute_command("FT._LIST"):
        assert time.monotonic() < end
        time.sleep(0.1)
    while client.keys(f"{name}:*"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert [id for _, id in index.nearest(given[1], 1)] == [1]
    search.close()


def test_closing_leaves_nothing_there_and_it_can_be_used_again(server: Valkey, client: Any) -> None:
    search = RediSearch.from_url(server.url, timeout=10.0)
    cache = SemanticCache(WordEmbeddings(), index=search)
    cache.store(ASKED, "Click on it.")
    name = search.name(64)
    assert len(client.keys(f"{name}:*")) == 1
    cache.close()
    assert client.keys(f"{name}:*") == []
    assert name.encode() not in client.execute_command("FT._LIST")
    hit = cache.lookup(AGAIN)
    assert hit is not None
    assert hit.answer == "Click on it."
    cache.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_an_index_of_its_own(search: RediSearch, client: Any) -> None:
    cache = SemanticCache(WordEmbeddings(), index=search)
    cache.store(ASKED, "Click on it.")
    child = os.fork()
    if not child:
        known = cache.lookup(AGAIN)
        cache.store("Where is the station?", "There.")
        os._exit(0 if known is not None and known.answer == "Click on it." else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    cache.store("Is it open?", "Yes.")
    assert cache.lookup("where is station") is None
    for key in client.keys("lc:vectors:*"):
        client.delete(key)


def test_a_server_without_the_module_is_told_of(valkey_url: str) -> None:
    cache = SemanticCache(WordEmbeddings(), index=RediSearch.from_url(valkey_url, timeout=10.0))
    with pytest.raises(ConfigError, match=r"SemanticCache.index: .*has no search module"):
        cache.store(ASKED, "Click on it.")


def test_a_server_that_is_away_costs_one_timeout_and_then_nothing() -> None:
    cache = SemanticCache(WordEmbeddings(), index=RediSearch.from_url("redis://:s3cret@127.0.0.1:1/0"))
    for _ in range(3):
        with pytest.raises(CacheUnavailable) as told:
            cache.store(ASKED, "Click on it.")
        assert "s3cret" not in str(told.value)
    assert "left alone" in str(told.value)
    assert cache.lookup(ASKED).answer == "Click on it."  # type: ignore[union-attr]


def test_what_cannot_be_meant_is_told() -> None:
    with pytest.raises(ConfigError, match="not in a cluster"):
        RediSearch.from_url("redis+cluster://127.0.0.1:1")
    with pytest.raises(ConfigError, match="idle"):
        RediSearch.from_url("redis://127.0.0.1:1/0", idle=0)
