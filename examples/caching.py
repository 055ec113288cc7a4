"""Exact cache, tenants, refresh, and fifty callers with one question: python examples/caching.py"""

import asyncio

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.testing import ScriptedModel

model = ScriptedModel("The sky is blue.", delay=0.1)  # seconds, as if it were far away
cache = MemoryCache(max_entries=1_000, ttl=3600.0)  # seconds
llm = ClusteredLLM([Endpoint("gpu-1", model)], cache=cache)


def settings(**wishes: object) -> dict:
    return {"configurable": {"cluster": wishes}}


async def main() -> None:
    question = "What colour is the sky?"
    answers = await asyncio.gather(*(llm.ainvoke(question) for _ in range(50)))
    print(f"{len(answers)} callers, {model.calls} call to the model")

    for wishes in ({}, {"tenant": "ann"}, {"tenant": "ann"}, {"cache": "refresh"}, {"cache": False}):
        message = await llm.ainvoke(question, settings(**wishes))
        print(f"{wishes!s:24} {message.response_metadata['cluster']['cache']}")
    print(cache.stats())
    await llm.cluster.aclose()


asyncio.run(main())
