"""Questions that mean the same are answered once, and those that only look alike are not."""

import re
from zlib import crc32

from langchain_core.embeddings import Embeddings

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import SemanticCache
from langchain_cluster.testing import ScriptedModel


class CountedWords(Embeddings):
    """For where the extra `semantic` is not installed: a poor man's embedding."""

    def embed_query(self, text: str) -> list[float]:
        vector = [0.001] * 256
        for word in set(re.findall(r"\w+", text.lower())) - {"how", "do", "can", "i", "my", "the", "please"}:
            vector[crc32(word.encode()) % 256] += 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


try:
    cache = SemanticCache()  # the model of the extra
except ImportError:
    cache = SemanticCache(CountedWords())

model = ScriptedModel(
    "Yes, within 14 days.", "No, that is too late.", "Click on 'forgot'.", "Ask an administrator."
)
llm = ClusteredLLM([Endpoint("gpu-1", model)], semantic_cache=cache)

for question in (
    "Can I return my order after 14 days?",
    "can I please return my order after 14 days",
    "Can I return my order after 40 days?",
    "How do I reset my password?",
    "How can I reset my password please?",
    "How do I reset my colleague's password?",
):
    message = llm.invoke(question)
    print(f"{message.response_metadata['cluster']['cache']:9} {question:45} {message.text}")

print(f"{cache.stats().hits} hits, {model.calls} calls")
llm.cluster.close()
