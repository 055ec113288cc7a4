"""Many processes ask one new question at once: one_asks_member.py SERVER VALKEY PROCESSES CALLERS [kill].

They are forked from one, so that they need not all import the library. Each prints a line: how its callers
were answered. With "kill", the first of them asks before the others and dies while it waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.model.events import CacheFailed
from langchain_cluster.testing import ScriptedModel

PREFIX = "one-asks:"
QUESTION = "What is new?"
FACES = ("invoke", "ainvoke", "stream", "astream", "batch")


def source(message: Any) -> str:
    return f"{message.response_metadata['cluster']['cache']}: {message.text}"


def streamed(llm: ClusteredLLM) -> Any:
    first, *rest = llm.stream(QUESTION)
    return sum(rest, start=first)


async def awaited(llm: ClusteredLLM, face: str, callers: int) -> list[Any]:
    async def one() -> Any:
        if face == "ainvoke":
            return await llm.ainvoke(QUESTION)
        first, *rest = [chunk async for chunk in llm.astream(QUESTION)]
        return sum(rest, start=first)

    return await asyncio.gather(*(one() for _ in range(callers)))


def answers(llm: ClusteredLLM, face: str, callers: int) -> list[Any]:
    if face.startswith("a"):
        return asyncio.run(awaited(llm, face, callers))
    if face == "batch":
        return llm.batch([QUESTION] * callers, {"max_concurrency": callers})
    ask: Any = streamed if face == "stream" else lambda model: model.invoke(QUESTION)
    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(ask, [llm] * callers))


def warm(server: str) -> None:
    """Import what the first calls import, once for all: on a small machine nothing else would take longer."""
    models = [
        ScriptedModel("warm"),
        ChatOpenAI(base_url=f"{server}/warm/v1", model="m", api_key=SecretStr("-")),
    ]
    for model in models:
        llm = ClusteredLLM([Endpoint("gpu-1", model)], cache=MemoryCache())
        for face in FACES:
            answers(llm, face, 1)
            llm.cluster.cache.clear()
        llm.cluster.close()


def wait_for_claim(valkey: str) -> None:
    with redis.Redis.from_url(valkey) as client:
        while not list(client.scan_iter(f"{PREFIX}*:claim")):
            time.sleep(0.01)


def member(number: int, server: str, valkey: str, callers: int, begin: float) -> None:
    model = ChatOpenAI(base_url=f"{server}/gpu-1/v1", model="m", api_key=SecretStr("-"), max_retries=0)
    shared = RedisCache.from_url(valkey, PREFIX, connect_timeout=20.0, timeout=20.0)
    llm = ClusteredLLM([Endpoint("gpu-1", model)], cache=LayeredCache([MemoryCache(), shared]))
    failures: Counter[str] = Counter()
    llm.cluster.events.subscribe(
        lambda event: failures.update([f"{event.operation}: {event.error}"] * isinstance(event, CacheFailed))
    )
    time.sleep(max(0.0, begin - time.time()))
    face = FACES[number % len(FACES)]
    told = Counter(map(source, answers(llm, face, callers)))
    os.write(1, (json.dumps([face, told, failures]) + "\n").encode())  # whole, whoever else writes
    llm.cluster.close()


if __name__ == "__main__":
    server, valkey, processes, callers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    warm(server)
    kills = sys.argv[5:] == ["kill"]
    begin = time.time() + 2.0  # by when all of them are there
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            if kills and number:
                wait_for_claim(valkey)
            member(number, server, valkey, callers, begin)
            os._exit(0)
        children.append(child)
    if kills:
        wait_for_claim(valkey)
        time.sleep(1.0)
        os.kill(children[0], signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
