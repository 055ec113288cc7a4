"""A process is warmed by what another one is asked most: entries are handed over, and no model is asked."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, ClusterError, ConfigError, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, ShardedCache
from langchain_cluster.testing import FakeClock, ScriptedModel
from langchain_cluster.warming import hottest, read_hot, warm_from, write_hot
from langchain_cluster.warming.hot import HEAD, TOKEN_ENV


def asked(cache: Any, **times: int) -> Any:
    """A cache with these entries, each read so often."""
    for key, often in times.items():
        cache.set(key, key.encode())
        for _ in range(often):
            cache.get(key)
    return cache


def test_what_was_read_most_comes_first() -> None:
    cache = asked(MemoryCache(), a=1, b=3, c=0, d=2)
    assert [(hot.key, hot.uses, hot.value, hot.ttl) for hot in hottest(cache)] == [
        ("b", 3, b"b", None),
        ("d", 2, b"d", None),
        ("a", 1, b"a", None),
    ]
    assert [hot.key for hot in hottest(cache, 2)] == ["b", "d"]


@pytest.mark.parametrize("policy", ["sieve", "lru", "lfu"])
def test_an_entry_that_is_spared_does_not_get_colder(policy: Any) -> None:
    cache = asked(MemoryCache(max_entries=4, policy=policy), a=9)
    for number in range(40):
        cache.set(str(number), b"x")
        assert cache.get("a") == b"a"
    ((key, uses, _, _),) = cache.hottest(1)
    assert (key, uses) == ("a", 49)
    assert cache.stats().evictions == 37


def test_what_has_expired_is_not_hot_and_the_time_left_is_told() -> None:
    clock = FakeClock()
    cache = MemoryCache(clock=clock.now)
    for key, ttl in (("a", 10.0), ("b", 60.0)):
        cache.set(key, b"x", ttl)
        cache.get(key)
    clock.advance(20.0)
    assert [(hot.key, hot.ttl) for hot in cache.hottest(5)] == [("b", 40.0)]


def test_stores_of_several_are_asked_for_those_that_count() -> None:
    layered = LayeredCache([asked(MemoryCache(), a=2), MemoryCache()])
    assert [hot.key for hot in hottest(layered)] == ["a"]
    shards = ShardedCache([asked(MemoryCache(), a=1), asked(MemoryCache(), b=5)])
    assert [hot.key for hot in hottest(shards)] == ["b", "a"]


def test_a_cluster_is_warmed_by_another_without_a_call() -> None:
    model = ScriptedModel("the answer")

    def build() -> ClusteredLLM:
        return ClusteredLLM([Endpoint("e", model)], cache=MemoryCache())

    old, new = build(), build()
    for _ in range(3):
        old.invoke("often")
    old.invoke("once")
    assert warm_from(new, hottest(old)) == 1
    assert new.invoke("often").response_metadata["cluster"]["cache"] == "memory"
    assert model.calls == 2


def test_what_is_there_is_left_as_it_is() -> None:
    near, far = MemoryCache(), MemoryCache()
    far.set("a", b"newer")
    store = LayeredCache([near, far])
    assert warm_from(store, hottest(asked(MemoryCache(), a=1, b=1))) == 1
    assert (near.get("a"), near.get("b")) == (b"newer", b"b")


def test_entries_travel_in_a_file_that_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "hot.jsonl"
    cache = asked(MemoryCache(), a=2)
    cache.set("b", b"\x00\xff", 60.0)
    cache.get("b")
    assert write_hot(file, hottest(cache)) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["hot.jsonl"]
    read = read_hot(file)
    assert [hot.key for hot in read] == ["a", "b"]
    assert read[1].value == b"\x00\xff"
    assert 0 < read[1].ttl <= 60.0  # type: ignore[operator]
    new = MemoryCache()
    assert warm_from(new, file, 1) == 1
    assert new.get("a") == b"a"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (None, "cannot be read"),
        ([], "is no file of hot entries"),
        (["{}"], "is no file of hot entries"),
        (["\x00"], "is no file of hot entries"),
        ([HEAD, "{"], "line 2: this is no entry"),
        ([HEAD, '{"key": "a"}'], "line 2: this is no entry: it has key, uses, value and ttl"),
        ([HEAD, '{"key": 1, "uses": 1, "value": "", "ttl": null}'], "line 2"),
        ([HEAD, '{"key": "a", "uses": 1, "value": "!", "ttl": null}'], "line 2.*base64"),
        ([HEAD, '{"key": "a", "uses": 1, "value": "", "ttl": -1}'], "line 2.*ttl"),
    ],
)
def test_a_file_that_is_none_is_told(lines: Any, says: str, tmp_path: Path) -> None:
    import orjson

    file = tmp_path / "hot.jsonl"
    if lines is not None:
        text = [orjson.dumps(line).decode() if isinstance(line, dict) else line for line in lines]
        file.write_text("\n".join(text))
    with pytest.raises(ConfigError, match=says):
        read_hot(file)


@pytest.mark.parametrize("n", [0, -1, "all", True])
def test_a_number_that_is_none_is_told(n: Any) -> None:
    with pytest.raises(ConfigError, match=r"hottest\.n"):
        hottest(MemoryCache(), n)


def test_a_cache_that_counts_nothing_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no cache"):
        hottest(ClusteredLLM([Endpoint("e", ScriptedModel())]))
    with pytest.raises(ConfigError, match="no MemoryCache in there"):
        hottest(ShardedCache([_Plain()]))


class _Plain:
    """A store of somebody's own."""

    aget = mget = exists = staticmethod(str)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ClusteredLLM]]:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from langchain_cluster.admin import create_app
    from tests.admin.conftest import TOKEN, served

    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("hi"))], cache=MemoryCache())
    with llm.cluster, served(create_app(llm)) as port:
        yield f"http://127.0.0.1:{port}", llm


def test_entries_come_from_a_running_process(running: tuple[str, ClusteredLLM]) -> None:
    url, llm = running
    for _ in range(2):
        llm.invoke("hello")
    new = ClusteredLLM([Endpoint("e", ScriptedModel("other"))], cache=MemoryCache())
    assert warm_from(new, url) == 1
    assert new.invoke("hello").text == "hi"


def test_answers_are_handed_to_nobody_without_the_token(
    running: tuple[str, ClusteredLLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = running
    with pytest.raises(ClusterError, match=r"token is needed.*401"):
        warm_from(MemoryCache(), url, token_env="NOT_SET")
    import httpx

    assert httpx.get(f"{url}/cache/hottest").status_code in (404, 405)


def test_an_app_that_does_not_answer_is_told() -> None:
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:1 does not answer"):
        warm_from(MemoryCache(), "http://127.0.0.1:1")
