"""A budget for each tenant: answers until it is spent, then a lesser one, and an alert."""

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from langchain_cluster import Budget, BudgetExceeded, ClusteredLLM, Endpoint, Policy, Price
from langchain_cluster.model.events import BudgetUsed, Event
from langchain_cluster.testing import ScriptedModel

answer = AIMessage("Blue.", usage_metadata={"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500})
llm = ClusteredLLM(
    [Endpoint("best", ScriptedModel(answer), price=Price(input=3.0, output=15.0))],
    budgets=[
        Budget(amount=500.0, per="month"),
        Budget(amount=0.04, per="day", scope="tenant", tell_at=(0.5,)),
    ],
)


def told(event: Event) -> None:
    if isinstance(event, BudgetUsed):
        print(f"-- {event.part:.0%} of the budget of {event.who}: {event.spent:.4f} of {event.limit:g} USD")


llm.cluster.events.subscribe(told)
acme: RunnableConfig = {"configurable": {"cluster": {"tenant": "acme"}}}
for number in range(5):
    try:
        message = llm.invoke(f"What colour is the sky on day {number}?", acme, max_tokens=500)
        print(f"{message.text} {message.response_metadata['cluster']['cost_usd']:.4f} USD")
    except BudgetExceeded as error:
        print(error)
        break

kind = Policy(degrade=("static_answer",), static_answer="Your budget of today is spent.")
print(llm.for_agent("kind", **dict(kind)).invoke("What colour is the sky?", acme, max_tokens=500).text)
