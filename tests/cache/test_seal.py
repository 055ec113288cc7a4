"""Values with a seal: what others have written, or moved to another key, is none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint
from langchain_cluster.cache import RedisCache
from langchain_cluster.testing import ScriptedModel
from tests.services.valkey import INSTALL, Valkey, binary

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.skipif(binary() is None, reason=INSTALL)
SECRET = b"a secret of many letters"


@pytest.fixture
def server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


def sealed(server: Valkey, secret: bytes | None = SECRET) -> RedisCache:
    return RedisCache(RedisCache.from_url(server.url).clients, "p:", secret=secret)


async def looks(store: RedisCache, *keys: str) -> list[Any]:
    """What every way to look finds."""
    return [
        store.mget(keys),
        await store.amget(keys),
        [store.get(key) for key in keys],
        [await store.aget(key) for key in keys],
        [store.peek(key) for key in keys],
        [entry and entry[0] for entry in store.entries(keys)],
        [entry and entry[0] for entry in await store.aentries(keys)],
        [store.claim([key]).raw for key in keys],
        [(await store.aclaim([key])).raw for key in keys],
    ]


def test_what_others_have_written_is_none(server: Valkey) -> None:
    mine, others = sealed(server), sealed(server, None)
    mine.mset({"a": b"one", "b": b"two", "empty": b""})
    mine.set("c", b"three")
    written = others.get("a")
    assert written is not None
    assert written.startswith(b"one"), "its beginning is what tags are read off"
    for key, bad in (("b", written), ("c", b"three"), ("d", b""), ("e", written[:-1]), ("f", b"x" + written)):
        others.set(key, bad)
    found = asyncio.run(looks(mine, "a", "empty", "b", "c", "d", "e", "f"))
    assert found == [[b"one", b"", None, None, None, None, None]] * len(found)
    other = sealed(server, b"another secret of letters")
    assert asyncio.run(looks(other, "a")) == [[None]] * len(found)
    for store in (mine, others, other):
        store.close()


def test_an_answer_that_was_put_there_by_others_is_asked_anew(server: Valkey) -> None:
    model = ScriptedModel("mine")
    llm = ClusteredLLM([Endpoint("e", model)], cache=sealed(server))
    llm.invoke("hello", {"configurable": {"cluster": {"cache_tags": ["t"]}}})
    assert llm.invoke("hello").response_metadata["cluster"]["cache"] == "redis"
    raw = redis.Redis.from_url(server.url)
    (key,) = raw.keys("p:lc:*")
    raw.set(key, raw.get(key).replace(b"mine", b"evil"))
    assert llm.invoke("hello").text == "mine"
    assert model.calls == 2
    llm.invoke("hello", {"configurable": {"cluster": {"cache": "refresh", "cache_tags": ["t"]}}})
    assert llm.cluster.cache.invalidate(tag="t") == 1
    llm.cluster.close()


def test_a_secret_is_long_and_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "short")
    for given, problem in (
        ({"secret_env": "SHORT"}, "at least 16"),
        ({"secret_env": "NOT_THERE"}, "not set"),
    ):
        with pytest.raises(ConfigError, match=problem):
            RedisCache.from_url("redis://127.0.0.1:1", **given)
    monkeypatch.setenv("LONG", "a very secret secret")
    assert "very" not in repr(vars(RedisCache.from_url("redis://127.0.0.1:1", secret_env="LONG")))
