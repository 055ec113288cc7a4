"""A cache in a Redis that is reached otherwise: over TLS, by a user, through a socket, by sentinels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip("redis")
pytest.importorskip("trustme")

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.errors import CacheUnavailable
from langchain_cluster.testing import ScriptedModel
from langchain_cluster.testing.contracts import CacheStoreContract
from tests.services.tls_front import TlsFront
from tests.services.valkey import INSTALL, Valkey, binary
from tests.services.valkey_sentinel import ValkeySentinels

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
PATIENT = {"connect_timeout": 10.0, "timeout": 10.0}
SECRET = "s3cret:/@%é"
WAYS = ("tls", "mutual tls", "user", "socket", "sentinel")
numbers = count()

Way = Callable[..., RedisCache]


def user(keys: str) -> tuple[str, ...]:
    """On the command line of a server: one who may do all with some keys."""
    return ("--user", "app", "on", f">{SECRET}", keys, "+@all")


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Makes caches that are reached in one of these ways."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CACHE_USER", "app")
    patch.setenv("CACHE_PASSWORD", SECRET)
    if request.param == "sentinel":
        with ValkeySentinels() as sentinels:
            yield lambda prefix, **options: RedisCache.from_url(sentinels.url, prefix, **options)
        return
    options: tuple[str, ...] = ()
    socket = str(tmp_path_factory.mktemp("s") / "valkey.sock")
    if request.param == "socket":
        options = ("--unixsocket", socket, "--unixsocketperm", "700")
    if request.param == "user":
        options = (*user("~*"), "&*", "--user", "default", "off")
    with Valkey(*options) as server:
        match request.param:
            case "socket":
                yield lambda prefix, **given: RedisCache.from_url(f"unix://{socket}?db=3", prefix, **given)
            case "user":
                env = {"username_env": "CACHE_USER", "password_env": "CACHE_PASSWORD"}
                yield lambda prefix, **given: RedisCache.from_url(server.url, prefix, **env, **given)
            case _:
                mutual = request.param == "mutual tls"
                with TlsFront(server.port, mutual=mutual) as front:
                    url = f"rediss://127.0.0.1:{front.port}/1?ssl_ca_certs={front.authority}"
                    if mutual:
                        url += f"&ssl_certfile={front.certificate}&ssl_keyfile={front.key}"
                    yield lambda prefix, **given: RedisCache.from_url(url, prefix, **given)
    patch.undo()


class TestRedisCacheReachedOtherwise(CacheStoreContract):
    @pytest.fixture
    def store(self, way: Way) -> Iterator[RedisCache]:
        store = way(f"test-{next(numbers)}[*]:", **PATIENT)
        yield store
        store.close()


def soon(holds: Callable[[], Any], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def test_what_one_writes_another_sees(way: Way) -> None:
    prefix = f"seen-{next(numbers)}:"
    caches = [LayeredCache([MemoryCache(), way(prefix, **PATIENT)]) for _ in range(2)]
    a, b = caches
    for cache in caches:
        cache.get("begin")
        soon(lambda cache=cache: cache._coherence.listening)  # type: ignore[misc]
    a.set("key", b"old")
    assert b.get("key") == b"old"
    a.set("key", b"new")
    soon(lambda: b.get("key") == b"new")
    for n in range(300):  # more than one read of a socket holds
        a.set(f"key-{n}" * 20, b"x" * 100)
    a.set("key", b"newest")
    soon(lambda: b.get("key") == b"newest")
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_calls_hit_it(way: Way, awaited: bool) -> None:
    with asyncio.Runner() as runner:
        llm = ClusteredLLM(
            [Endpoint("e", ScriptedModel("the answer"))], cache=way(f"calls-{next(numbers)}:", **PATIENT)
        )
        for source in ("miss", "redis"):
            said = runner.run(llm.ainvoke("hi")) if awaited else llm.invoke("hi")
            assert said.response_metadata["cluster"]["cache"] == source
        runner.run(llm.cluster.aclose())


# -- what is refused -----------------------------------------------------------------------------------


def refused(cache: RedisCache) -> str:
    """What both colours say; no secret is in it."""
    said = []
    with asyncio.Runner() as runner:
        for ask in (lambda: cache.get("k"), lambda: runner.run(cache.aget("k"))):
            cache.breaker.reset()
            with pytest.raises(CacheUnavailable) as told:
                ask()
            said.append(str(told.value))
            assert told.value.__cause__ is None
        runner.run(cache.aclose())
    assert not any(SECRET in text or "wrong" in text for text in (*said, repr(cache)))
    return " ".join(said)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


def test_a_certificate_of_an_unknown_authority_is_refused(server: Valkey) -> None:
    with TlsFront(server.port) as front, TlsFront(server.port) as other:
        url = f"rediss://127.0.0.1:{front.port}?ssl_ca_certs={other.authority}"
        assert "certificate" in refused(RedisCache.from_url(url, **PATIENT)).lower()
        assert refused(RedisCache.from_url(f"rediss://127.0.0.1:{front.port}", **PATIENT))


def test_a_certificate_for_another_name_is_refused(server: Valkey) -> None:
    with TlsFront(server.port, name="cache.example.org") as front:
        url = f"rediss://127.0.0.1:{front.port}?ssl_ca_certs={front.authority}"
        assert "127.0.0.1" in refused(RedisCache.from_url(url, **PATIENT))
        store = RedisCache.from_url(f"{url}&ssl_check_hostname=false", **PATIENT)
        store.set("k", b"v")
        assert store.get("k") == b"v"
        store.close()


def test_who_shows_no_certificate_where_one_is_asked_for_is_refused(server: Valkey) -> None:
    with TlsFront(server.port, mutual=True) as front:
        url = f"rediss://127.0.0.1:{front.port}?ssl_ca_certs={front.authority}"
        assert refused(RedisCache.from_url(url, **PATIENT))


def test_a_server_that_speaks_no_tls_is_refused(server: Valkey) -> None:
    assert refused(RedisCache.from_url(f"rediss://127.0.0.1:{server.port}"))


def test_a_wrong_password_and_a_user_without_rights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with Valkey(*user("~allowed:*"), "--user", "default", "off") as server:
        monkeypatch.setenv("CACHE_PASSWORD", "wrong")
        assert "username-password" in refused(
            RedisCache.from_url(server.url.replace("//", "//app@"), password_env="CACHE_PASSWORD", **PATIENT)
        )
        monkeypatch.setenv("CACHE_USER", "app")
        monkeypatch.setenv("CACHE_PASSWORD", SECRET)
        env = {"username_env": "CACHE_USER", "password_env": "CACHE_PASSWORD"}
        assert "No permissions" in refused(RedisCache.from_url(server.url, "other:", **env, **PATIENT))
        allowed = RedisCache.from_url(server.url, "allowed:", **env, **PATIENT)
        allowed.set("k", b"v")
        assert allowed.get("k") == b"v"
        allowed.close()


# -- sentinels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("awaited", [False, True])
def test_a_master_that_sentinels_replace_fails_no_call_and_hits_return(
    awaited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_PASSWORD", SECRET)
    with ValkeySentinels(SECRET) as servers, asyncio.Runner() as runner:
        cache = RedisCache.from_url(servers.url, password_env="CACHE_PASSWORD", timeout=1.0)
        llm = ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=cache, timeout=5.0)

        def source(number: int) -> str:
            config: Any = {"configurable": {"cluster": {"tenant": f"t{number}"}}}
            asked = runner.run(llm.ainvoke("hi", config)) if awaited else llm.invoke("hi", config)
            assert asked.text == "the answer"
            return str(asked.response_metadata["cluster"]["cache"])

        soon(lambda: {source(number) for number in range(5)} == {"redis"})
        servers.sentinels[0].kill()  # one that is asked first may be gone too
        servers.master.kill()
        soon(lambda: {source(number) for number in range(5)} == {"redis"}, within=60.0)
        runner.run(llm.cluster.aclose())
