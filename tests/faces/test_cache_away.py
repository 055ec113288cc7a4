"""A cache that hangs, that holds what nobody wrote, or whose layers fail: calls go on, within their time."""

from __future__ import annotations

import asyncio
import pickle
import socket
import time
from collections.abc import Iterator
from math import inf
from threading import Event, Thread, current_thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.drive.shelf import longest
from langchain_cluster.endpoints.codec import AnswerCodec
from langchain_cluster.model.events import CacheFailed
from langchain_cluster.testing import ScriptedModel
from tests.faces.faces import Face, Heard, at_rest, cluster_of, text_of


class Hanging(MemoryCache):
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()

    def get(self, key: str) -> Any:
        self.go.wait(60.0)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.go.wait(60.0)

    async def aget(self, key: str) -> Any:
        await asyncio.sleep(60.0)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await asyncio.sleep(60.0)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    cache = Hanging()
    yield cache
    cache.go.set()


def test_a_cache_that_hangs_is_a_miss_well_before_the_deadline(plain_face: Face, hanging: Hanging) -> None:
    model = ScriptedModel("the answer")
    llm = ClusteredLLM([Endpoint("e", model)], cache=hanging, policy=Policy(timeout=1.0))
    heard = Heard(llm)
    started = time.monotonic()
    message = plain_face.ask(llm, "hello")
    assert time.monotonic() - started < 1.0
    assert (text_of(message), cluster_of(message)["cache"]) == ("the answer", "miss")
    assert [(e.operation, e.error) for e in heard.of(CacheFailed)] == [
        ("lookup", "TimeoutError"),
        ("store", "TimeoutError"),
    ]
    assert at_rest(llm)


def test_a_cache_in_memory_is_asked_in_place(plain_face: Face) -> None:
    asked_on: set[Thread] = set()

    def clock() -> float:
        asked_on.add(current_thread())
        return time.monotonic()

    llm = ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=MemoryCache(ttl=60.0, clock=clock))
    for source in ("miss", "memory"):
        assert cluster_of(plain_face.ask(llm, "hello"))["cache"] == source
    assert asked_on == {current_thread()}


def test_a_cache_that_inherits_from_one_in_memory_may_block() -> None:
    assert longest(MemoryCache()) == 0.0
    assert longest(Hanging()) == inf


# -- what nobody of ours wrote -------------------------------------------------------------------------


class Holding(MemoryCache):
    """Holds the same bytes under every key."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.raw = raw

    def get(self, key: str) -> Any:
        return self.raw

    async def aget(self, key: str) -> Any:
        return self.raw


class Evil:
    """What would run if anything here were unpickled."""

    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (Evil, "ran", True))


WHOLE = AnswerCodec().encode(
    ChatResult(
        generations=[ChatGeneration(message=AIMessage("kept", response_metadata={"a": [1, {"b": "c"}]}))]
    )
)
HOSTILE = [
    b"",
    b"\x00",
    b"\x01",
    b"\x01[]",
    b"\x01[{},{}",
    b"\x01[[],{}]",
    b'\x01[{"content":{}},{}]',
    b'\x01[{"content":1e999},{}]',
    b'\x01[{"content":"x","tool_calls":[1]},{}]',
    b'\x01[{"content":"x","tool_calls":{"a":1}},{}]',
    b'\x01[{"content":"x","usage_metadata":7},{}]',
    b'\x01[{"content":"x","usage_metadata":{"input_tokens":"many"}},{}]',
    b'\x01[{"content":"x","response_metadata":[]},{}]',
    b'\x01[{"content":"x","additional_kwargs":3},{}]',
    b'\x01[{"content":"x","__class__":"os.system"},{}]',
    b'\x01[{"content":"x","type":"human"},{}]',
    b'\x01{"lc":1,"type":"constructor","id":["os","system"],"kwargs":{}}',
    b"\x01" + b"[" * 100_000,
    b'\x01[{"content":' + b"[" * 900 + b"]" * 900 + b"},{}]",
    b"\x02" + WHOLE[1:],
    WHOLE[:-1],
    WHOLE + b"x",
    pickle.dumps(Evil()),
    b"\x01" + pickle.dumps(Evil()),
]


def ask_holding(face: Face, raw: bytes) -> tuple[str, str, list[str]]:
    """(what was said, where it came from, which events)."""
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=Holding(raw))
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    return text_of(message), cluster_of(message)["cache"], [e.operation for e in heard.of(CacheFailed)]


@pytest.mark.parametrize("raw", HOSTILE, ids=lambda raw: ascii(raw[:40]))
def test_hostile_bytes_are_a_miss_and_an_event(plain_face: Face, raw: bytes) -> None:
    assert ask_holding(plain_face, raw) == ("the answer", "miss", ["lookup"])
    assert not Evil.ran


def changed(raw: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    """`raw` with some bytes set, and its end cut off."""
    found = bytearray(raw)
    for place, value in edits:
        found[place % len(found)] = value
    return bytes(found[: len(found) - cut])


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda raw: b"\x01" + raw),
        st.builds(
            changed,
            st.just(WHOLE),
            st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
            st.integers(0, 40),
        ),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_lies_there_is_an_answer_or_a_miss(plain_face: Face, raw: bytes) -> None:
    said, source, events = ask_holding(plain_face, raw)
    assert (source, events) in ((("memory", [])), ("miss", ["lookup"]))
    assert source == "memory" or said == "the answer"


def test_a_redis_that_hangs_costs_one_timeout_per_time_its_breaker_opens(plain_face: Face) -> None:
    pytest.importorskip("redis")
    from langchain_cluster.cache import RedisCache
    from langchain_cluster.model.policy import BreakerPolicy

    with socket.create_server(("127.0.0.1", 0)) as server:  # it accepts, and answers nothing
        port = server.getsockname()[1]
        breaker = BreakerPolicy(consecutive_failures=1, open_for=300.0, max_open=300.0)
        cache = RedisCache.from_url(f"redis://127.0.0.1:{port}/0", timeout=0.2, breaker=breaker)
        asked: list[str] = []

        def counted(colour: str) -> Any:
            client = getattr(cache.clients, colour)

            def ask() -> Any:
                asked.append(colour)
                return client()

            return ask

        for colour in ("blocking", "awaited"):
            setattr(cache.clients, colour, counted(colour))
        llm = ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=cache)
        for _ in range(30):
            assert text_of(plain_face.ask(llm, "hello")) == "the answer"
        # Once; and again where this machine was so busy that nobody can say who was late.
        assert 1 <= len(asked) <= 3, "every other call goes on without a wait"
        assert at_rest(llm)
