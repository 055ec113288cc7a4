"""One of three server processes is killed while fifty callers ask: nobody notices."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, Policy

CALLERS = 50
ROUNDS = 4


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "langchain_cluster.testing.simulated", "--latency", "0.1"]
    started = [
        subprocess.Popen([*command, "--name", f"gpu-{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    yield started
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def over(processes: list[Any]) -> ClusteredLLM:
    urls = [process.stdout.readline().strip() for process in processes]
    return ClusteredLLM(
        [
            Endpoint(f"gpu-{n}", ChatOpenAI(base_url=f"{url}/v1", model="m", api_key="-"))
            for n, url in enumerate(urls)
        ],
        policy=Policy(timeout=30.0),
        seed=3,
    )


def nothing_is_lost(llm: ClusteredLLM, answers: list[str]) -> None:
    assert len(answers) == CALLERS * ROUNDS
    for n, text in enumerate(answers):
        assert text.partition(" says: ")[2] == f"question {n // ROUNDS}"
    stats = llm.cluster.stats()
    assert (stats["calls"], stats["answered"], stats["failed"]) == (CALLERS * ROUNDS, CALLERS * ROUNDS, 0)
    assert stats["in_flight"] == 0
    assert stats["endpoints"]["gpu-0"]["failed"] >= 1, "the killed one was in use"
    assert stats["endpoints"]["gpu-0"]["served"] >= 1
    wasted = stats["attempts"] - stats["answered"]
    assert 1 <= wasted <= CALLERS, "what was under way is asked once more, and the circuit opens"


def test_no_blocking_call_fails_when_a_server_is_killed(processes: list[Any]) -> None:
    llm = over(processes)

    def ask(n: int) -> list[str]:
        return [str(llm.invoke(f"question {n}").content) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(CALLERS) as threads:
        asked = [threads.submit(ask, n) for n in range(CALLERS)]
        while llm.cluster.stats()["endpoints"]["gpu-0"]["served"] < 5:
            time.sleep(0.002)
        processes[0].send_signal(signal.SIGKILL)
        answers = [text for future in asked for text in future.result(60)]
    nothing_is_lost(llm, answers)
    assert llm.cluster.close()


async def test_no_awaited_call_fails_when_a_server_is_killed(processes: list[Any]) -> None:
    llm = over(processes)

    async def ask(n: int) -> list[str]:
        return [str((await llm.ainvoke(f"question {n}")).content) for _ in range(ROUNDS)]

    async def kill() -> None:
        while llm.cluster.stats()["endpoints"]["gpu-0"]["served"] < 5:
            await asyncio.sleep(0.002)
        processes[0].send_signal(signal.SIGKILL)

    *answers, _ = await asyncio.gather(*(ask(n) for n in range(CALLERS)), kill())
    nothing_is_lost(llm, [text for texts in answers for text in texts])
    assert await llm.cluster.aclose()
