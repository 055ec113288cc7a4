"""The minute that processes share, asked of a real Valkey."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.scope import Away, Refused, Scope, Taken
from langchain_cluster.sharing.limits import SharedLimits
from tests.services.valkey import Valkey

redis = pytest.importorskip("redis")
T0 = 1_700_000_000_000  # milliseconds
# Between calls: what is about to leave the minute is what matters.
PAUSES = st.one_of(
    st.integers(0, 20_000), st.sampled_from([0, 1, 249, 19_750, 29_900, 59_400, 59_700, 59_999, 60_000])
)


@pytest.fixture
def limits(valkey_url: str) -> Iterator[SharedLimits]:
    shared = SharedLimits.from_url(valkey_url, namespace=secrets.token_hex(8), timeout=5.0)
    yield shared
    shared.close()


def taken(answer: object) -> Taken:
    assert isinstance(answer, Taken), answer
    return answer


def refused(answer: object) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def test_what_was_taken_is_missing_for_a_minute_and_never_less(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", rpm=2),)
    taken(limits.take(scope, 0, now=T0))
    taken(limits.take(scope, 0, now=T0 + 10_000))
    no = refused(limits.take(scope, 0, now=T0 + 20_000))
    assert (no.scope, no.window, no.seconds) == (scope[0], "rpm", 40.25)
    refused(limits.take(scope, 0, now=T0 + 60_000))
    taken(limits.take(scope, 0, now=T0 + 60_250))
    refused(limits.take(scope, 0, now=T0 + 60_250))


def test_a_group_and_an_endpoint_are_taken_together_or_not_at_all(limits: SharedLimits) -> None:
    group = Scope("group", "g", tpm=100)
    taken(limits.take((Scope("endpoint", "a", rpm=9), group), 80, now=T0))
    no = refused(limits.take((Scope("endpoint", "b", rpm=1), group), 30, now=T0))
    assert (no.scope, no.window) == (group, "tpm")
    taken(limits.take((Scope("endpoint", "b", rpm=1),), 30, now=T0))  # it was not counted there


def test_more_than_the_whole_limit_goes_when_nothing_else_is_taken(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", tpm=100),)
    taken(limits.take(scope, 500, now=T0))
    refused(limits.take(scope, 1, now=T0 + 1))
    taken(limits.take(scope, 500, now=T0 + 60_250))


def test_a_limit_of_nothing_is_never_free(limits: SharedLimits) -> None:
    assert refused(limits.take((Scope("endpoint", "a", rpm=0),), 0, now=T0)).seconds == inf


def test_what_was_not_used_goes_back_with_the_next_question(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", tpm=100),)
    first = taken(limits.take(scope, 90, now=T0))
    limits.settle(first, 10)
    taken(limits.take(scope, 90, now=T0 + 1000))
    refused(limits.take(scope, 1, now=T0 + 1000))


def test_what_was_used_beyond_counts_from_when_it_is_told(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", tpm=100),)
    limits.settle(taken(limits.take(scope, 10, now=T0)), 100)
    no = refused(limits.take(scope, 1, now=T0 + 30_000))
    assert no.seconds == 30.25
    no = refused(limits.take(scope, 50, now=T0 + 60_250))
    assert no.seconds == 30.0


def test_a_cancelled_call_is_as_if_it_had_not_been(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", rpm=1, tpm=100),)
    limits.cancel(taken(limits.take(scope, 100, now=T0)))
    taken(limits.take(scope, 100, now=T0 + 1))


def test_nothing_is_given_back_to_a_minute_that_is_over(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", rpm=1),)
    first = taken(limits.take(scope, 0, now=T0))
    taken(limits.take(scope, 0, now=T0 + 60_250))
    limits.cancel(first)
    refused(limits.take(scope, 0, now=T0 + 60_500))


def test_a_clock_that_goes_back_lets_nothing_more_through(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", rpm=1),)
    taken(limits.take(scope, 0, now=T0))
    refused(limits.take(scope, 0, now=T0 - 30_000))
    refused(limits.take(scope, 0, now=T0 + 59_000))
    taken(limits.take(scope, 0, now=T0 - 3_600_000))  # an hour: nobody should have to wait for that


@given(
    calls=st.lists(
        st.tuples(PAUSES, st.integers(0, 60), st.one_of(st.none(), st.integers(0, 60))),
        max_size=40,
    )
)
@settings(max_examples=40)
def test_there_is_no_minute_in_which_more_is_let_through(
    valkey_url: str, calls: list[tuple[int, int, int | None]]
) -> None:
    limits = SharedLimits.from_url(valkey_url, namespace=secrets.token_hex(8), timeout=5.0)
    scope, now = (Scope("endpoint", "a", rpm=5, tpm=100),), T0
    let: list[tuple[int, int]] = []
    for pause, tokens, gives_back in calls:
        now += pause
        answer = limits.take(scope, tokens, now=now)
        if isinstance(answer, Taken):
            used = tokens if gives_back is None else min(tokens, gives_back)
            limits.settle(answer, used)
            let.append((now, used))
        else:
            assert 0 < refused(answer).seconds <= 60.25
    for start, _ in let:
        minute = [used for at, used in let if start <= at < start + 60_000]
        assert len(minute) <= 5
        assert sum(minute) <= 100
    limits.close()


def test_twenty_threads_at_a_limit_of_six_get_six(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", rpm=6),)
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: limits.take(scope, 0), range(40)))
    assert sum(isinstance(answer, Taken) for answer in answers) == 6


async def test_tasks_and_threads_share_one_minute(limits: SharedLimits) -> None:
    scope = (Scope("endpoint", "a", rpm=3),)
    taken(limits.take(scope, 0))
    answers = await asyncio.gather(*[limits.atake(scope, 0) for _ in range(5)])
    assert sum(isinstance(answer, Taken) for answer in answers) == 2


def test_keys_show_no_name(limits: SharedLimits, valkey_url: str) -> None:
    limits.take((Scope("endpoint", "sk-very-secret", rpm=3),), 0)
    with redis.Redis.from_url(valkey_url) as client:
        keys = client.keys(f"*{limits.namespace}*")
        assert len(keys) == 3
        assert not any(b"secret" in key for key in keys)
        assert all(client.pttl(key) > 0 for key in keys)


def test_a_young_store_says_among_how_many_to_divide(limits: SharedLimits, valkey_url: str) -> None:
    scope = (Scope("endpoint", "a", rpm=9),)
    other = SharedLimits(valkey_url, namespace=limits.namespace, timeout=5.0)
    assert taken(limits.take(scope, 0, now=T0)).parts == 1
    assert taken(other.take(scope, 0, now=T0 + 1)).parts == 2
    assert taken(limits.take(scope, 0, now=T0 + 60_000)).parts == 1  # it knows the whole minute
    other.close()


def test_a_store_that_is_killed_is_away_and_comes_back() -> None:
    scope = (Scope("endpoint", "a", rpm=9),)
    with Valkey() as server:
        limits = SharedLimits(server.url, timeout=1.0)
        taken(limits.take(scope, 0))
        server.kill()
        gone = limits.take(scope, 0)
        assert isinstance(gone, Away)
        assert gone.parts == 1
        assert limits.longest == inf
        server.start()
        assert isinstance(limits.take(scope, 0), Away)  # it is left alone for a while
        limits.breaker.reset()
        taken(limits.take(scope, 0))
        assert limits.longest == 4.0
        limits.close()


async def test_a_task_finds_it_away_too() -> None:
    limits = SharedLimits("redis://127.0.0.1:1/0", timeout=1.0)
    assert isinstance(await limits.atake((Scope("endpoint", "a", rpm=9),), 0), Away)
    assert isinstance(await limits.atake((Scope("endpoint", "a", rpm=9),), 0), Away)
    limits.close()


def test_what_nobody_asks_about_is_told_at_the_end(limits: SharedLimits, valkey_url: str) -> None:
    scope = (Scope("endpoint", "a", tpm=100),)
    limits.settle(taken(limits.take(scope, 100)), 0)
    limits.close()
    other = SharedLimits(valkey_url, namespace=limits.namespace, timeout=5.0)
    taken(other.take(scope, 100))
    other.close()


def test_what_was_taken_is_told_again_when_nobody_knows_whether_it_was() -> None:
    limits = SharedLimits("redis://127.0.0.1:1/0", timeout=1.0)
    scopes = (Scope("endpoint", "a", tpm=100),)
    limits.settle(Taken(scopes, 10, 1), 30)
    limits.settle(Taken(scopes, 10, 1), 0)
    assert isinstance(limits.take(scopes, 1), Away)
    assert [correction[3] for correction in limits._corrections] == [20]
    limits.close()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"url": "nonsense"}, "SharedLimits.url"),
        ({"namespace": "{}"}, "SharedLimits.namespace"),
        ({"timeout": 0}, "SharedLimits.timeout"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_told_at_once(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SharedLimits(**{"url": "redis://127.0.0.1/0", **settings})  # type: ignore[arg-type]
    assert caught.value.key == key


def test_its_repr_shows_no_address() -> None:
    assert repr(SharedLimits("redis://:secret@127.0.0.1/0")) == "SharedLimits(namespace='langchain-cluster')"
