"""Send a call that fails over and one from the cache to a collector; exits 1 unless they arrived."""

from __future__ import annotations

import json
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.telemetry import setup
from langchain_cluster.testing import ScriptedModel

SERVICE = "langchain-cluster-smoke"
SOON = 15.0  # seconds from sending to Jaeger showing it


def send(url: str) -> bool:
    """Whether the collector took it all."""
    telemetry = setup(service_name=SERVICE, otlp=url, default=False)
    llm = ClusteredLLM(
        [
            Endpoint("gpu-1", ScriptedModel(ConnectionError("refused"), model_name="m")),
            Endpoint("gpu-2", ScriptedModel("The sky is blue.", model_name="m"), priority=1),
        ],
        cache=True,
        telemetry=telemetry,
    )
    llm.invoke("What colour is the sky?")
    llm.invoke("What colour is the sky?")
    sent = telemetry.flush(5.0)
    telemetry.shutdown()
    return sent


def shown(jaeger: str) -> set[str]:
    """Names of the spans Jaeger has of us."""
    with urlopen(f"{jaeger}/api/traces?service={SERVICE}&lookback=1h&limit=20", timeout=5.0) as answer:
        traces = json.load(answer)["data"]
    return {span["operationName"] for trace in traces for span in trace["spans"]}


def main() -> int:
    """Send, and look whether it arrived."""
    collector = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:4318"
    jaeger = sys.argv[2] if len(sys.argv) > 2 else None
    try:
        with urlopen(collector, timeout=5.0):
            pass
    except URLError as error:
        if not hasattr(error, "code"):  # whatever it answers, somebody is there
            sys.stdout.write(f"{collector}: nobody is there: {error.reason}\n")
            return 1
    if not send(collector):
        sys.stdout.write(f"{collector} did not take the spans\n")
        return 1
    sys.stdout.write("the collector took the spans\n")
    if jaeger is None:
        return 0
    wanted = {"langchain_cluster chat", "langchain_cluster cache lookup", "chat m"}
    until = time.monotonic() + SOON
    while not wanted <= shown(jaeger):
        if time.monotonic() > until:
            sys.stdout.write(f"{jaeger} does not show them\n")
            return 1
        time.sleep(0.5)
    sys.stdout.write("and Jaeger shows them\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
