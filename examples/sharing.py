"""Four workers, one endpoint that is down, and who pays for learning that: python examples/sharing.py

`LocalSharing` stands in for Redis, so that it runs anywhere; between processes it is
`RedisSharing("redis://...")`.
"""

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint
from langchain_cluster.model.events import AttemptEnded
from langchain_cluster.sharing import LocalSharing
from langchain_cluster.testing import ScriptedModel


def failed_attempts(sharing):
    """What four workers lose that make five calls each."""
    failed = []
    workers = []
    for _ in range(4):
        down = Endpoint("gpu-1", ScriptedModel(ConnectionError("refused")))
        others = [Endpoint(name, ScriptedModel("hello")) for name in ("gpu-2", "gpu-3")]
        llm = ClusteredLLM(
            [down, *others],
            balancer="round_robin",
            breaker=BreakerPolicy(consecutive_failures=1),
            sharing=sharing,
        )
        llm.cluster.events.subscribe(lambda event: isinstance(event, AttemptEnded) and failed.append(event))
        workers.append(llm)
    for llm in workers:
        llm.cluster.start()
    for llm in workers:
        for _ in range(5):
            llm.invoke("Who are you?")
    for llm in workers:
        llm.cluster.close()
    return len(failed)


print("failed attempts, each for itself:", failed_attempts(None))
print("failed attempts, shared:", failed_attempts(LocalSharing()))
