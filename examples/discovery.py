"""Endpoints that come, change and go while somebody calls: python examples/discovery.py

ConsulDiscovery and EtcdDiscovery are used in the same way; this registry is a list in the program.
"""

from threading import Condition

from langchain_cluster import ClusteredLLM, Endpoint, Roster
from langchain_cluster.model.events import EndpointJoined, EndpointLeft, EndpointUpdated
from langchain_cluster.testing import ScriptedModel


class Noticeboard:
    """A discovery: `fetch` returns the whole roster once its revision is another than `after`."""

    def __init__(self):
        self._changed = Condition()
        self._roster = Roster((), revision=1)
        self._models = {}

    def say(self, **weights):
        endpoints = [
            Endpoint(name, self._models.setdefault(name, ScriptedModel("hello")), weight=weight)
            for name, weight in weights.items()
        ]
        with self._changed:
            self._roster = Roster(tuple(endpoints), self._roster.revision + 1)
            self._changed.notify_all()

    def fetch(self, after=None):
        with self._changed:
            self._changed.wait_for(lambda: self._roster.revision != after, timeout=30.0)
            return self._roster

    async def afetch(self, after=None):
        raise NotImplementedError("this program only calls, and a cluster follows on a thread")

    def close(self):
        """The cluster closes; a fetch that waits has to end."""
        with self._changed:
            self._roster = Roster(self._roster.endpoints, self._roster.revision + 1)
            self._changed.notify_all()


board, told = Noticeboard(), Condition()
board.say(gpu_1=1, gpu_2=1)
llm = ClusteredLLM(discovery=board, balancer="weighted")


def tell(event):
    match event:
        case EndpointJoined(endpoint=endpoint):
            print(f"{endpoint.id} joined")
        case EndpointLeft(endpoint=endpoint):
            print(f"{endpoint.id} left")
        case EndpointUpdated(endpoint=endpoint):
            print(f"{endpoint.id} now has weight {endpoint.weight:g}")
    with told:
        told.notify_all()


def weights():
    return {member.endpoint.id: member.endpoint.weight for member in llm.cluster.pool}


def follow(**wanted):
    board.say(**wanted)
    with told:
        assert told.wait_for(lambda: weights() == wanted, timeout=10.0)
    asked = [llm.invoke("Who are you?").response_metadata["cluster"]["endpoint"] for _ in range(8)]
    print({name: asked.count(name) for name in sorted(set(asked))})


llm.cluster.events.subscribe(tell)
with llm.cluster:
    llm.cluster.wait_ready(10.0)
    follow(gpu_1=3, gpu_2=1)
    follow(gpu_2=1, gpu_3=1)
