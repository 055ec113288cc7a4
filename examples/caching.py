"""Exact cache, tenants, refresh, fifty callers with one question, and answers that are taken back or get old:
python examples/caching.py"""

import asyncio

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import AnswerRenewed
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
    await llm.ainvoke("What is the price?", settings(cache_tags=["prices"]))
    print(f"taken back: {await llm.cluster.cache.ainvalidate(tag='prices')} by tag, ", end="")
    print(f"{await llm.cluster.cache.ainvalidate(tenant='ann')} by tenant")

    # Older than a tenth of a second it is still given for a minute, while it is asked anew beside the call.
    news = llm.for_agent("news", fresh_for=0.1, stale_while_revalidate=60.0)
    renewed = asyncio.Event()
    loop = asyncio.get_running_loop()
    llm.cluster.events.subscribe(
        lambda event: loop.call_soon_threadsafe(renewed.set) if isinstance(event, AnswerRenewed) else None
    )
    await news.ainvoke("What is new?")
    await asyncio.sleep(0.2)
    before, message = model.calls, await news.ainvoke("What is new?")
    print(f"an old answer came from the {message.response_metadata['cluster']['cache']} cache, ", end="")
    await renewed.wait()
    print(f"and {model.calls - before} call renewed it")
    print(cache.stats())
    await llm.cluster.aclose()


asyncio.run(main())
