"""How patient: for all calls, for an agent, for one call: python examples/policies.py"""

from langchain.agents import create_agent

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.model.events import CallEnded
from langchain_cluster.testing import ScriptedModel

llm = ClusteredLLM(
    [Endpoint("slow", ScriptedModel("done", delay=0.3))],  # seconds
    policy=Policy(timeout=0.1, attempts=1),
    agents={"planner": {"timeout": 5.0}},
)
llm.cluster.events.subscribe(
    lambda event: (
        isinstance(event, CallEnded) and print(f"  {event.request.agent}: {event.error or 'answered'}")
    )
)

print("everybody has 0.1 s:")
try:
    llm.invoke("hello")
except TimeoutError as error:
    print(" ", error)

print("the agent called planner has 5 s:")
create_agent(llm, tools=[], name="planner").invoke({"messages": [("user", "hello")]})

print("a view, and a single call:")
llm.for_agent("reader", timeout=5.0).invoke("hello")
llm.invoke("hello", {"configurable": {"cluster": {"timeout": "5s"}}})
llm.cluster.close()
