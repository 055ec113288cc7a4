"""What each kind of failure does to a call: python examples/failover.py"""

from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.testing import SimulatedServer, faults

FAULTS = {
    "an HTTP 503": faults.Status(503),
    "429 with Retry-After": faults.RateLimited(retry_after=30.0),
    "no answer at all": faults.Hang(),
    "200 with a web page": faults.Html(),
    "a wrong key": faults.Status(401),
    "a bad request": faults.Status(400),
}


def ask(server: SimulatedServer, fault: faults.Fault) -> str:
    """One call, whose first endpoint has `fault`."""
    endpoints = [
        Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"), priority=level)
        for level, name in enumerate(("first", "standby"))
    ]
    llm = ClusteredLLM(endpoints, policy=Policy(timeout=5.0, attempt_timeout=0.5))  # seconds
    server.fail(fault, endpoint="first")
    try:
        facts = llm.invoke("hello").response_metadata["cluster"]
        return f"answered by {facts['endpoint']}, {facts['attempts']} attempts, {facts['seconds']:.2f} s"
    except Exception as error:
        return f"{type(error).__name__}: {error.__notes__[0]}"
    finally:
        server.heal()
        llm.cluster.close()


with SimulatedServer() as server:
    for name, fault in FAULTS.items():
        print(f"{name:22} {ask(server, fault)}")
