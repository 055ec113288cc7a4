"""Rate limits shared by a group, a line with priorities, and a refusal that says when to come again."""

import asyncio

from langchain_core.runnables import RunnableConfig

from langchain_cluster import Capacity, ClusteredLLM, Endpoint, Overloaded, Policy, QueuePolicy, Quota
from langchain_cluster.testing import ScriptedModel

llm = ClusteredLLM(
    [
        Endpoint(
            name,
            ScriptedModel(f"answer of {name}", delay=0.01),
            quota_group="provider",
            capacity=Capacity(max_connections=1),
        )
        for name in ("east", "west")
    ],
    quotas={"provider": Quota(max_rpm=10)},  # ten calls in any minute, for both together
    queue=QueuePolicy(size=20),
    policy=Policy(timeout=5.0),
)


async def ask(number: int, priority: str) -> str:
    config: RunnableConfig = {
        "configurable": {"cluster": {"priority": priority, "tenant": f"team-{number % 2}"}}
    }
    try:
        message = await llm.ainvoke(f"question {number}", config)
    except Overloaded as refused:
        return f"refused, come again in {refused.retry_after:.0f} s"
    waited = message.response_metadata["cluster"].get("queue_seconds", 0.0)
    return f"{message.content} after {waited:.3f} s in line"


async def main() -> None:
    priorities = ["sheddable", "normal", "critical"] * 4
    answers = await asyncio.gather(*(ask(n, priority) for n, priority in enumerate(priorities)))
    for priority, answer in zip(priorities, answers, strict=True):
        print(f"{priority:10} {answer}")
    stats = llm.cluster.stats()
    print(stats["queue"], stats["endpoints"]["east"]["limits"])


asyncio.run(main())
