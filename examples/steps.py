"""Retrieval, a query and a tool behind one cache, and what a fleet shares: python examples/steps.py"""

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import tool

from langchain_cluster import ClusteredLLM, Endpoint, cached
from langchain_cluster.cache import LayeredCache, MemoryCache
from langchain_cluster.testing import ScriptedModel, ScriptedRetriever

llm = ClusteredLLM(
    [Endpoint("gpu-1", ScriptedModel("About twice a day."))],
    cache=LayeredCache([MemoryCache(max_entries=1_000)]),  # add RedisCache.from_url(...) to share it
)
retriever = ScriptedRetriever([Document("Tides rise and fall about twice a day.", metadata={"page": 12})])
search = cached(retriever, cache=llm, ttl="1h", name="handbook")  # by name: shared by processes
prompt = ChatPromptTemplate.from_messages([("human", "{context}\n\n{question}")])
chain = {"context": search, "question": RunnablePassthrough()} | prompt | llm | StrOutputParser()

for _ in range(2):
    print("".join(chain.stream("How often are tides?")))
print(f"{retriever.calls} search, {llm.cluster.stats()['cache_hits']} answer from the cache")


@tool
def tide_table(port: str) -> list[str]:
    """When the water is high at a port."""
    print(f"  asking for {port} ...")
    return ["04:10", "16:35"]


tide_table = cached(tide_table, cache=llm, ttl="10m")
for tenant in ("ann", "ann", "bob"):
    times = tide_table.invoke({"port": "Brest"}, {"configurable": {"cluster": {"tenant": tenant}}})
    print(f"{tenant}: {', '.join(times)}")
print(llm.cluster.cache.stats())
llm.cluster.close()
