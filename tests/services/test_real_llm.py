"""A real language model in real processes: every face, and one of three killed under load."""

import asyncio
from collections.abc import Iterator

import pytest

pytest.importorskip("langchain_openai")

from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, Policy
from langchain_cluster.testing.local_llm import INSTALL, MODEL, LocalLLM, is_installed

pytestmark = [
    pytest.mark.real_llm,
    pytest.mark.skipif(not is_installed(), reason=f"no local LLM here: {INSTALL}"),
]
QUESTION = "What is the capital of France? Answer in one short sentence."


def model(server: LocalLLM) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=server.openai_url, model=MODEL, api_key=SecretStr("-"), temperature=0, stream_usage=True
    )


@pytest.fixture(scope="module")
def server() -> Iterator[LocalLLM]:
    with LocalLLM() as server:
        yield server


@pytest.fixture
def llm(server: LocalLLM) -> Iterator[ClusteredLLM]:
    llm = ClusteredLLM(endpoints=[Endpoint("real", model=model(server))], max_tokens=24)
    yield llm
    llm.cluster.close()


def test_invoke(llm: ClusteredLLM) -> None:
    message = llm.invoke(QUESTION)
    assert "Paris" in message.text
    assert message.response_metadata["cluster"]["endpoint"] == "real"
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] > 10
    assert 0 < message.usage_metadata["output_tokens"] <= 24


async def test_ainvoke(llm: ClusteredLLM) -> None:
    message = await llm.ainvoke(QUESTION)
    assert "Paris" in message.text
    assert message.usage_metadata is not None


def test_stream(llm: ClusteredLLM) -> None:
    check_stream(list(llm.stream(QUESTION)))


async def test_astream(llm: ClusteredLLM) -> None:
    check_stream([chunk async for chunk in llm.astream(QUESTION)])


def check_stream(chunks: list[AIMessageChunk]) -> None:
    assert sum(bool(chunk.text) for chunk in chunks) >= 3
    assert sum("cluster" in chunk.response_metadata for chunk in chunks) == 1
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert "Paris" in whole.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0


async def test_kill_minus_9_of_one_of_three_fails_no_call() -> None:
    servers = [LocalLLM(f"llm-{number}") for number in range(3)]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        llm = ClusteredLLM(
            endpoints=[Endpoint(server.name, model=model(server)) for server in servers],
            breaker=BreakerPolicy(consecutive_failures=2, open_for=0.5, max_open=1.0),
            policy=Policy(timeout=120.0),
            max_tokens=24,
        )
        async with llm.cluster as cluster:
            calls = [asyncio.create_task(llm.ainvoke(f"What is {n} plus one?")) for n in range(50)]
            victim = cluster.pool.get("llm-1")
            while victim.in_flight < 2 or sum(call.done() for call in calls) < 3:
                await asyncio.sleep(0.01)
            on_it = victim.in_flight
            servers[1].kill()
            answers = await asyncio.gather(*calls)  # raises the first failure there is
            assert len(answers) == 50
            assert all(answer.text for answer in answers)
            moved = sum(a.response_metadata["cluster"]["attempts"] > 1 for a in answers)
            assert moved >= on_it
            assert cluster.stats()["failed"] == 0
            assert victim.breaker_state != "closed"
            servers[1].restart()
            for n in range(60):  # until a call was let through to probe it
                await llm.ainvoke(f"What is {n} times two?", config={"tags": ["after"]})
                if victim.breaker_state == "closed":
                    break
            assert victim.breaker_state == "closed"
    finally:
        for server in servers:
            server.close()
