"""Many that check the same models: one of them asks, the others go by what it saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count, pairwise
from threading import Lock
from typing import Any

import pytest

from langchain_cluster import Cluster, ConfigError, Endpoint
from langchain_cluster.health import Health, HealthPolicy, ModelCheck
from langchain_cluster.leadership import LocalLeadership, RedisLeadership, Term
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults

redis = pytest.importorskip("redis")
openai = pytest.importorskip("langchain_openai")

Look = Callable[[ModelCheck, Endpoint], Awaitable[Health]]
_names = count()


@pytest.fixture(params=["check", "acheck"])
def look(request: pytest.FixtureRequest) -> Look:
    async def look(check: ModelCheck, endpoint: Endpoint) -> Health:
        if request.param == "acheck":
            return await check.acheck(endpoint)
        return await asyncio.to_thread(check.check, endpoint)

    return look


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def name() -> str:
    return f"checkers-{next(_names)}"


def endpoint(server: SimulatedServer, id: str) -> Endpoint:
    url = server.openai_url(id)
    return Endpoint(id, openai.ChatOpenAI(base_url=url, model="m", api_key="-", max_retries=0))


def member(url: str, name: str, *, every: float = 60.0, lease: float = 30.0) -> ModelCheck:
    """A check as another process would make it: with a lock and a connection of its own."""
    leader = RedisLeadership(url, name=name, lease=lease)
    return ModelCheck(every=every, timeout=min(10.0, lease / 2), leader=leader, prober=Lock())


def healthy(cluster: Cluster, id: str) -> bool:
    member = cluster.pool.get(id)
    assert member is not None
    return member.healthy


def wait(condition: Callable[[], Any], within: float = 10.0) -> None:
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, f"not within {within} s"
        time.sleep(0.005)


async def test_the_holder_asks_and_the_others_go_by_what_it_saw(
    look: Look, server: SimulatedServer, valkey_url: str, name: str
) -> None:
    server.fail(faults.Status(500), "bad")
    checks = [member(valkey_url, name) for _ in range(4)]
    found = [await look(check, endpoint(server, "good")) for check in checks]
    assert [health.reason for health in found] == ["the model answered"] * 4
    found = [await look(check, endpoint(server, "bad")) for check in checks]
    assert not any(health.ok for health in found)
    assert len({health.reason for health in found}) == 1
    assert (server.count("good"), server.count("bad")) == (1, 1)
    for check in checks:
        check.close()


async def test_who_comes_later_goes_by_what_is_published_though_it_could_ask(
    look: Look, server: SimulatedServer, valkey_url: str, name: str
) -> None:
    first, later = member(valkey_url, name), member(valkey_url, name)
    assert (await look(first, endpoint(server, "a"))).ok
    first.close()  # it gives the lease back
    assert (await look(later, endpoint(server, "a"))).reason == "the model answered"
    assert server.count("a") == 1
    assert (await look(later, endpoint(server, "b"))).reason == "the model answered"
    assert server.count("b") == 1
    later.close()


async def test_a_finding_is_as_old_as_it_was_when_it_was_published(
    look: Look, server: SimulatedServer, valkey_url: str, name: str
) -> None:
    one, first = endpoint(server, "a"), member(valkey_url, name, every=60.0)
    assert (await look(first, one)).ok
    first.close()
    place = first._notice(Term(1, 0.0), one, Health(True))[1]
    client = redis.Redis.from_url(valkey_url)
    key = f"langchain-cluster:{{{name}}}:notice:{place}"
    for passed, asked in ((50, 1), (70, 2)):  # seconds; of 180 it is kept
        assert client.pexpire(key, (180 - passed) * 1000)
        later = member(valkey_url, name, every=60.0)
        assert (await look(later, one)).ok
        assert server.count("a") == asked
        assert (later._seen["a"][1] < time.monotonic() - 40) is (asked == 1)
        later.close()
    client.close()


async def test_another_model_or_another_place_under_the_same_id_is_another_one(
    look: Look, server: SimulatedServer, valkey_url: str, name: str
) -> None:
    first, later = member(valkey_url, name), member(valkey_url, name)
    await look(first, endpoint(server, "a"))
    moved = Endpoint("a", endpoint(server, "elsewhere").model)
    health = await look(later, moved)
    assert health == Health(True, "not checked: another process asks the model")
    assert server.count("elsewhere") == 0
    first.close()


async def test_an_old_finding_is_gone_by_until_there_is_a_newer_one(
    look: Look, server: SimulatedServer, valkey_url: str, name: str
) -> None:
    server.fail(faults.Status(500), "bad")
    holder, other = member(valkey_url, name, every=0.02), member(valkey_url, name, every=0.02)
    one = endpoint(server, "bad")
    await look(holder, one)
    # As long as the holder is not heard of again, for three times `every`; as if time had not passed.
    term, place, text, _ = holder._notice(Term(99, 0.0), one, Health(False, "no"))
    holder.leader.post(term, place, text, 60.0)
    await asyncio.sleep(0.03)
    assert (await look(other, one)).reason == "no"
    server.heal()
    assert not (await look(other, one)).ok
    assert server.count("bad") == 1
    holder.close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"ok": 1, "reason": "x", "seconds": 1}', '{"ok": true}']
)
async def test_what_is_no_finding_is_not_believed(
    text: str, look: Look, server: SimulatedServer, valkey_url: str, name: str
) -> None:
    check, one = member(valkey_url, name), endpoint(server, "a")
    place = check._notice(Term(1, 0.0), one, Health(True))[1]
    check.leader.post(Term(0, 0.0), place, text, 60.0)
    assert (await look(check, one)).reason == "the model answered"
    check.close()


async def test_without_redis_nobody_asks_and_everybody_is_believed(
    look: Look, server: SimulatedServer
) -> None:
    check = member("redis://127.0.0.1:1", "none")
    health = await look(check, endpoint(server, "a"))
    assert health.ok
    assert health.reason.startswith("not checked: Redis cannot be asked: ")
    assert server.count() == 0
    check.close()


async def test_a_leader_that_publishes_nothing_leaves_the_others_without(look: Look) -> None:
    leader = LocalLeadership()
    asks, other = (ModelCheck(leader=leader, prober=Lock(), every=0.001) for _ in range(2))
    one = Endpoint("a", ScriptedModel("hi"))
    assert (await look(asks, one)).reason == "the model answered"
    assert (await look(other, one)).reason == "not checked: another process asks the model"
    asks.close()
    other._seat._again = 0.0  # the second is over after which who was refused asks again
    assert (await look(other, one)).reason == "the model answered"


def test_of_eight_clusters_one_asks_in_each_period(
    server: SimulatedServer, valkey_url: str, name: str
) -> None:
    every, ids = 0.25, ("a", "bad")
    server.fail(faults.Status(500), "bad")
    with ExitStack() as stack:
        clusters = []
        for _ in range(8):
            check = member(valkey_url, name, every=every, lease=2.0)
            policy = HealthPolicy(check=check, interval=0.05, fall=2)
            fleet = [endpoint(server, id) for id in ids]
            clusters.append(stack.enter_context(Cluster(fleet, health=policy)))
        wait(lambda: min(map(server.count, ids)) >= 4)
        wait(lambda: not any(healthy(cluster, "bad") for cluster in clusters))
        assert all(healthy(cluster, "a") for cluster in clusters)
    for id in ids:
        gaps = [later.at - earlier.at for earlier, later in pairwise(server.seen(id))]
        assert min(gaps) > every - 0.005  # the millisecond Redis counts in


def test_a_leader_must_be_one_and_outlast_a_look(valkey_url: str) -> None:
    with pytest.raises(ConfigError, match=r"ModelCheck.leader: a lease of 5 s is not longer than a look"):
        ModelCheck(leader=RedisLeadership(valkey_url, lease=5.0))
    for wrong in (
        {"leader": "redis"},
        {"leader": RedisLeadership},
        {"prober": "x"},
        {"prompt": 3},
        {"arguments": 3},
    ):
        (option,) = wrong
        with pytest.raises(ConfigError, match=f"ModelCheck.{option}: .* is not"):
            ModelCheck(**wrong)
    leader = RedisLeadership("redis://:hush@127.0.0.1:1")
    assert repr(ModelCheck(leader=leader)) == (
        "ModelCheck(every=60, timeout=10, leader=RedisLeadership(name='langchain-cluster', lease=30))"
    )
