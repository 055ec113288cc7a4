"""Two caches over one Redis; exits 1 unless one pays and both are answered, and calls go on without it."""

import os
import sys
import time

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.testing import ScriptedModel

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
PREFIX = f"lc:smoke:{os.getpid()}:"


def build(model: ScriptedModel, url: str) -> ClusteredLLM:
    """What each process builds."""
    cache = LayeredCache([MemoryCache(), RedisCache.from_url(url, PREFIX, 60.0)])
    return ClusteredLLM([Endpoint("gpu-1", model)], cache=cache)


def source(llm: ClusteredLLM, text: str) -> str:
    """Where the answer came from."""
    return str(llm.invoke(text).response_metadata["cluster"]["cache"])


def main() -> int:
    """0 when the promise holds."""
    model = ScriptedModel("the answer")
    one, other = build(model, URL), build(model, URL)
    began = time.time()
    found = [source(one, "hello"), source(one, "hello"), source(other, "hello"), source(other, "hello")]
    away = build(model, "redis://127.0.0.1:1")  # nobody listens there
    away_found = [source(away, "hello"), source(away, "hello")]
    sys.stdout.write(f"with Redis: {found}; without: {away_found}; {time.time() - began:.2f} s\n")
    assert one.cluster.cache is not None
    one.cluster.cache.clear()
    for llm in (one, other, away):
        llm.cluster.close()
    right = found == ["miss", "memory", "redis", "memory"] and away_found == ["miss", "memory"]
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
