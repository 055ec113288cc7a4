"""A chain, its stream and a batch, with one endpoint down: python examples/chain.py"""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import SimulatedServer, faults

with SimulatedServer() as server:
    server.fail(faults.Status(503), endpoint="gpu-1")
    endpoints = [
        Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"))
        for name in ("gpu-1", "gpu-2", "gpu-3")
    ]
    llm = ClusteredLLM(endpoints)
    chain = ChatPromptTemplate([("user", "{question}")]) | llm | StrOutputParser()

    with llm.cluster:
        print("invoke:", chain.invoke({"question": "where are you"}))
        print("stream:", "|".join(chain.stream({"question": "and in words"})))
        answers = chain.batch([{"question": f"number {n}"} for n in range(6)], {"max_concurrency": 3})
        print("batch: ", len(answers), "answers")
        print("stats: ", {name: m["served"] for name, m in llm.cluster.stats()["endpoints"].items()})
