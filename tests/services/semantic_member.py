"""One process of a fleet that shares its answers: python semantic_member.py VALKEY NAMESPACE sync|async

It answers one command a line: "ask QUESTION" with where the answer came from and what it is, "clear", and
"known" with how many questions it knows. It ends with its input.
"""

from __future__ import annotations

import asyncio
import os
import sys

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache.semantic import RedisJournals, SemanticCache
from langchain_cluster.testing import ScriptedModel
from tests.cache.semantic.embedding import WordEmbeddings

if __name__ == "__main__":
    url, namespace, colour = sys.argv[1:]
    cache = SemanticCache(
        WordEmbeddings(), share=RedisJournals.from_url(url, namespace=namespace, timeout=10.0)
    )
    llm = ClusteredLLM([Endpoint("e", ScriptedModel(f"answer of {os.getpid()}"))], semantic_cache=cache)
    with asyncio.Runner() as runner, llm.cluster:
        assert cache.wait_ready(60.0)
        print("ready", len(cache), flush=True)
        for line in sys.stdin:
            command, _, question = line.strip().partition(" ")
            if command == "ask":
                said = runner.run(llm.ainvoke(question)) if colour == "async" else llm.invoke(question)
                print(said.response_metadata["cluster"]["cache"], said.text, flush=True)
            elif command == "clear":
                print(cache.clear(), flush=True)
            else:
                print(len(cache), flush=True)
