"""A pool that is a file, edited while somebody calls: python examples/file_discovery.py

Needs the extra `openai`. The servers are simulated; the file is replaced whole, as it should be.
"""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from langchain_cluster import ClusteredLLM, EndpointFactory
from langchain_cluster.discovery import FileDiscovery
from langchain_cluster.model.events import EndpointJoined, EndpointLeft, EndpointRejected
from langchain_cluster.testing import SimulatedServer


def write(path, *endpoints):
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"endpoints": endpoints}))
    os.replace(new, path)


def tell(event):
    match event:
        case EndpointJoined(endpoint=endpoint):
            print(f"{endpoint.id} joined")
        case EndpointRejected(endpoint=id, reason=reason):
            print(f"{id} was refused: {reason}")
        case EndpointLeft(endpoint=endpoint):
            print(f"{endpoint.id} left")
            left.set()


left = Event()
with SimulatedServer() as server, TemporaryDirectory() as folder:
    path = Path(folder) / "pool.json"
    one, two = ({"id": f"gpu-{n}", "url": f"{server.url}/gpu-{n}/v1", "model": "m"} for n in (1, 2))
    thief = {"id": "thief", "url": "http://203.0.113.7/v1", "model": "m"}
    write(path, one, two, thief)

    llm = ClusteredLLM(
        discovery=FileDiscovery(path, poll=0.05),
        factory=EndpointFactory("openai:{model}", allow=["127.0.0.0/8"]),
    )
    llm.cluster.events.subscribe(tell)
    with llm.cluster:
        assert llm.cluster.wait_ready(10.0)
        print(llm.invoke("hello").content)
        write(path, two)
        assert left.wait(10.0)
        print(llm.invoke("hello again").response_metadata["cluster"]["endpoint"])
