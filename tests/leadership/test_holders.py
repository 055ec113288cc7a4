"""What every leadership promises, blocking and awaited: Redis and the one process alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from math import inf
from typing import Any

import pytest

from langchain_cluster import ConfigError
from langchain_cluster.leadership import Leadership, LocalLeadership, Noticeboard, RedisLeadership, Term
from tests.services.valkey import INSTALL, Valkey, binary

redis = pytest.importorskip("redis")
Ask = Callable[..., Awaitable[Any]]
_names = count()


@pytest.fixture(params=["blocking", "awaited"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Call a method in either colour."""

    async def ask(leader: Any, method: str, *arguments: Any) -> Any:
        if request.param == "awaited":
            return await getattr(leader, f"a{method}")(*arguments)
        return await asyncio.to_thread(getattr(leader, method), *arguments)

    return ask


@pytest.fixture
def name() -> str:
    return f"fleet-{next(_names)}"


@pytest.fixture(params=["local", "redis"])
def leader(request: pytest.FixtureRequest, name: str) -> Iterator[Any]:
    if request.param == "local":
        yield LocalLeadership()
        return
    leader = RedisLeadership(request.getfixturevalue("valkey_url"), name=name, lease=30.0)
    yield leader
    leader.close()


@pytest.fixture
def server() -> Iterator[Valkey]:
    """One that may be killed."""
    if binary() is None:
        pytest.skip(INSTALL)
    with Valkey() as server:
        yield server


# -- what is promised -------------------------------------------------------------------------------


async def test_there_is_one_holder_and_each_term_has_a_larger_token(ask: Ask, leader: Leadership) -> None:
    first = await ask(leader, "acquire", 100.0)
    assert first.token == 1
    assert first.until == 100.0 + leader.lease
    assert await ask(leader, "acquire", 100.0) is None
    await ask(leader, "release", first)
    second = await ask(leader, "acquire", 101.0)
    assert second.token == 2
    assert leader.trouble is None
    await ask(leader, "release", second)


async def test_a_renewed_term_keeps_its_token_and_ends_later(ask: Ask, leader: Leadership) -> None:
    term = await ask(leader, "acquire", 100.0)
    renewed = await ask(leader, "renew", term, 110.0)
    assert renewed.token == term.token
    assert renewed.until == 110.0 + leader.lease
    await ask(leader, "release", renewed)


async def test_a_term_that_is_over_is_neither_renewed_nor_released(ask: Ask, leader: Leadership) -> None:
    old = await ask(leader, "acquire", 100.0)
    await ask(leader, "release", old)
    assert await ask(leader, "renew", old, 101.0) is None
    new = await ask(leader, "acquire", 102.0)
    assert await ask(leader, "renew", old, 103.0) is None
    await ask(leader, "release", old)  # must not throw out the new one
    assert await ask(leader, "acquire", 104.0) is None
    assert await ask(leader, "renew", new, 105.0) is not None
    await ask(leader, "release", new)


def test_they_are_what_the_port_says(leader: Any) -> None:
    assert isinstance(leader, Leadership)
    assert isinstance(leader, Noticeboard) is isinstance(leader, RedisLeadership)


def test_a_repr_tells_the_state_and_no_secret(name: str) -> None:
    local = LocalLeadership()
    assert repr(local) == "<LocalLeadership, nobody>"
    term = local.acquire(0.0)
    assert repr(local) == "<LocalLeadership, term 1>"
    assert term == Term(1, inf)
    leader = RedisLeadership("redis://user:hush@127.0.0.1:1/0", name=name)
    assert repr(leader) == f"RedisLeadership(name='{name}', lease=30)"
    assert "hush" not in repr(vars(leader)["_settings"])
    assert "secret-mark" not in repr(Term(1, 2.0, "secret-mark"))


# -- Redis ------------------------------------------------------------------------------------------


async def test_a_lease_ends_by_itself_in_redis(ask: Ask, valkey_url: str, name: str) -> None:
    dead, other = (RedisLeadership(valkey_url, name=name, lease=lease) for lease in (0.05, 30.0))
    term = await ask(dead, "acquire", 0.0)
    client = redis.Redis.from_url(valkey_url)
    while client.exists(f"langchain-cluster:{{{name}}}:leader"):
        await asyncio.sleep(0.005)
    next_term = await ask(other, "acquire", 0.0)
    assert next_term.token == term.token + 1
    assert await ask(dead, "renew", term, 0.01) is None  # it has been stopped, and does not know
    await ask(other, "post", next_term, "x", "new", 60.0)
    assert await ask(dead, "post", term, "x", "stale", 60.0) is False
    assert (await ask(dead, "read", "x"))[0] == "new"
    client.close()


async def test_fleets_of_other_names_have_holders_of_their_own(ask: Ask, valkey_url: str, name: str) -> None:
    for each in (f"{name}-a", f"{name}-b"):
        assert (await ask(RedisLeadership(valkey_url, name=each), "acquire", 0.0)).token == 1


async def test_a_notice_has_an_age_and_an_end(ask: Ask, valkey_url: str, name: str) -> None:
    leader = RedisLeadership(valkey_url, name=name)
    term = await ask(leader, "acquire", 0.0)
    assert await ask(leader, "read", "x") is None
    assert await ask(leader, "post", term, "x", "text", 60.0)
    text, age = await ask(leader, "read", "x")
    assert text == "text"
    assert 0 <= age < 30
    client = redis.Redis.from_url(valkey_url)
    client.pexpire(f"langchain-cluster:{{{name}}}:notice:x", 20_000)  # as if 40 s had passed
    _, age = await ask(leader, "read", "x")
    assert 40 <= age < 60
    client.close()


async def test_without_redis_nobody_becomes_the_holder_and_one_stays_it_until_the_end(
    ask: Ask, server: Valkey, name: str
) -> None:
    leader = RedisLeadership(server.url, name=name, lease=10.0)
    term = await ask(leader, "acquire", 100.0)
    server.kill()
    assert await ask(leader, "acquire", 100.0) is None
    assert leader.trouble is not None
    assert leader.trouble.startswith("Redis cannot be asked: ")
    assert await ask(leader, "renew", term, 109.9) == term
    assert await ask(leader, "renew", term, 110.0) is None
    assert await ask(leader, "post", term, "x", "text", 1.0) is False
    assert await ask(leader, "read", "x") is None
    await ask(leader, "release", term)
    server.start()
    assert (await ask(leader, "acquire", 111.0)).token == 1  # it has forgotten, and counts anew
    assert leader.trouble is None


async def test_a_redis_that_hangs_is_waited_for_no_longer_than_the_timeout(
    ask: Ask, server: Valkey, name: str
) -> None:
    leader = RedisLeadership(server.url, name=name, timeout=0.05)
    server.pause()
    async with asyncio.timeout(5.0):
        assert await ask(leader, "acquire", 0.0) is None
    assert "imeout" in str(leader.trouble)
    server.resume()


async def test_a_wrong_password_is_trouble_too_and_is_not_shown(ask: Ask, name: str) -> None:
    if binary() is None:
        pytest.skip(INSTALL)
    with Valkey("--requirepass", "right") as server:
        wrong = RedisLeadership(server.url.replace("//", "//:hush@"), name=name)
        assert await ask(wrong, "acquire", 0.0) is None
        assert wrong.trouble is not None
        assert "hush" not in wrong.trouble
        right = RedisLeadership(server.url.replace("//", "//:right@"), name=name)
        assert await ask(right, "acquire", 0.0) is not None


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"lease": 0}, "lease"),
        ({"lease": "30s"}, "lease"),
        ({"lease": True}, "lease"),
        ({"timeout": -1}, "timeout"),
        ({"name": ""}, "name"),
        ({"name": "a{b}"}, "name"),
        ({"name": 3}, "name"),
        ({"url": "http://user:hush@x"}, "url"),
        ({"url": "redis://user:hush@x:port"}, "url"),
        ({"url": None}, "url"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_showing_the_address(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"RedisLeadership.{key}: ") as caught:
        RedisLeadership(**{"url": "redis://127.0.0.1:1", **wrong})
    assert "hush" not in str(caught.value)
