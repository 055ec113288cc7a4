"""A pool of embedding servers: spread, failed over, cached text by text: python examples/embeddings.py"""

from langchain_core.vectorstores import InMemoryVectorStore

from langchain_cluster import ClusteredEmbeddings, ClusteredRetriever, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.testing import ScriptedEmbeddings

servers = {
    "gpu-1": ScriptedEmbeddings(size=64),
    "gpu-2": ScriptedEmbeddings(ConnectionError("refused"), size=64),  # this one is down
    "gpu-3": ScriptedEmbeddings(size=64),
}
cache = MemoryCache()
embeddings = ClusteredEmbeddings(
    [Endpoint(name, model) for name, model in servers.items()],
    batch_size=2,
    cache=cache,
    balancer="round_robin",
)

texts = ["the sky is blue", "grass is green", "snow is white", "coal is black", "the sea is blue"]
stores = [InMemoryVectorStore(embeddings) for _ in range(2)]
for store in stores:
    store.add_texts(texts)  # the second time nobody is asked
print({name: model.calls for name, model in servers.items()}, cache.stats())

retriever = ClusteredRetriever(
    [Endpoint(f"store-{n}", store.as_retriever(search_kwargs={"k": 2})) for n, store in enumerate(stores, 1)]
)
print([document.page_content for document in retriever.invoke("what is blue")])

for face in (embeddings, retriever):
    face.cluster.close()
