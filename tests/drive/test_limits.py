"""What is said of a stream that let too much time pass."""

from __future__ import annotations

import asyncio

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, Policy, StreamInterrupted
from langchain_cluster.testing import ScriptedModel


def stalling() -> ClusteredLLM:
    return ClusteredLLM(
        [Endpoint("slow", ScriptedModel(["one ", 1.0, "two"]))], policy=Policy(attempts=1, idle_timeout=0.05)
    )


def said(error: StreamInterrupted) -> list[str]:
    return [str(error), *error.__notes__]


def test_a_stream_that_stalls_says_for_how_long() -> None:
    with pytest.raises(StreamInterrupted) as caught:
        list(stalling().stream("hello"))
    assert all("TimeoutError: the stream stalled for 0.05 s" in text for text in said(caught.value))


def test_an_awaited_one_says_it_too() -> None:
    async def read() -> None:
        async for _ in stalling().astream("hello"):
            pass

    with pytest.raises(StreamInterrupted) as caught:
        asyncio.run(read())
    assert all("TimeoutError: the stream stalled for 0.05 s" in text for text in said(caught.value))


def test_the_words_of_a_client_are_not_repeated() -> None:
    broken = ScriptedModel(["one ", TimeoutError("no answer to: tell me of foxes")])
    llm = ClusteredLLM([Endpoint("e", broken)], policy=Policy(attempts=1))
    with pytest.raises(StreamInterrupted) as caught:
        list(llm.stream("tell me of foxes"))
    assert all("TimeoutError" in text and "foxes" not in text for text in said(caught.value))
