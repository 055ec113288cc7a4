"""A cached tool is a tool: by name, arguments and messages; what is kept is what its function returned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool

from langchain_cluster import cached
from langchain_cluster.steps import CachedTool
from langchain_cluster.testing import ScriptedModel
from tests.steps.asking import settings

AWAITED = pytest.mark.parametrize("awaited", [False, True])


def call(id: str, **args: Any) -> dict[str, Any]:
    return {"name": "weather", "args": args, "id": id, "type": "tool_call"}


def ask(step: BaseTool, awaited: bool, input: Any, config: Any = None) -> Any:
    return asyncio.run(step.ainvoke(input, config)) if awaited else step.invoke(input, config)


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def weather(calls: list[Any]) -> Any:
    @tool
    def weather(city: str, days: int = 1) -> str:
        """The weather of a city."""
        calls.append((city, days))
        return f"{city}: sun for {days}"

    return cached(weather)


@AWAITED
def test_it_is_asked_once_for_the_same_arguments(weather: Any, calls: list[Any], awaited: bool) -> None:
    assert ask(weather, awaited, {"city": "Bern"}) == "Bern: sun for 1"
    assert ask(weather, awaited, {"city": "Bern", "days": 1}) == "Bern: sun for 1"
    assert ask(weather, awaited, {"city": "Bern", "days": 2}) == "Bern: sun for 2"
    assert calls == [("Bern", 1), ("Bern", 2)]


@AWAITED
def test_each_call_is_answered_under_its_own_id(weather: Any, calls: list[Any], awaited: bool) -> None:
    for id in ("1", "2"):
        message = ask(weather, awaited, call(id, city="Bern"))
        assert isinstance(message, ToolMessage)
        assert (message.tool_call_id, message.content, message.name) == (id, "Bern: sun for 1", "weather")
    assert len(calls) == 1


def test_it_looks_like_the_tool(weather: Any) -> None:
    assert isinstance(weather, CachedTool)
    assert (weather.name, weather.description) == ("weather", "The weather of a city.")
    assert weather.args == weather.tool.args
    assert weather.tool_call_schema.model_json_schema() == weather.tool.tool_call_schema.model_json_schema()


@AWAITED
def test_a_tool_that_failed_is_asked_again(awaited: bool) -> None:
    answers: list[Any] = [ToolException("down"), "up"]

    @tool
    def status() -> str:
        """Is it up?"""
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    status.handle_tool_error = True
    step = cached(status)
    assert [ask(step, awaited, {}) for _ in range(3)] == ["down", "up", "up"]


@AWAITED
def test_content_and_artifact_both_come_back(awaited: bool) -> None:
    calls = []

    @tool(response_format="content_and_artifact")
    def rows(query: str) -> tuple[str, list[int]]:
        """Rows."""
        calls.append(query)
        return "2 rows", [1, 2]

    step = cached(rows)
    for id in ("1", "2"):
        message = ask(step, awaited, {**call(id, query="q"), "name": "rows"})
        assert (message.content, message.artifact) == ("2 rows", [1, 2])
    assert len(calls) == 1


@AWAITED
def test_a_tool_of_a_class_is_given_what_it_asks_for(awaited: bool) -> None:
    seen = []

    class Plain(BaseTool):
        name: str = "plain"
        description: str = "plain"

        def _run(self, q: str, config: Any = None, run_manager: Any = None) -> str:
            seen.append((q, type(run_manager).__name__))
            return q.upper()

    class Bare(BaseTool):
        name: str = "bare"
        description: str = "bare"

        def _run(self, q: str) -> str:
            return q.upper()

        async def _arun(self, q: str) -> str:
            return q.upper() + "!"

    assert [ask(cached(Plain()), awaited, {"q": "a"}) for _ in range(2)] == ["A", "A"]
    assert seen == [("a", "CallbackManagerForToolRun")] * 2  # two objects, two steps: they hold nothing alike
    assert ask(cached(Bare()), awaited, {"q": "a"}) == ("A!" if awaited else "A")


@AWAITED
def test_a_call_may_leave_the_cache_alone(weather: Any, calls: list[Any], awaited: bool) -> None:
    for _ in range(2):
        ask(weather, awaited, {"city": "Bern"}, settings(cache=False))
    assert len(calls) == 2
    for name in ("ann", "bob", "ann"):
        ask(weather, awaited, {"city": "Bern"}, settings(tenant=name))
    assert len(calls) == 4


def test_what_is_kept_can_be_forgotten(weather: Any, calls: list[Any]) -> None:
    weather.invoke({"city": "Bern"})
    assert weather.forget({"city": "Bern"})
    assert not weather.forget({"city": "Bern"})
    weather.invoke({"city": "Bern"})
    assert asyncio.run(weather.aforget({"city": "Bern"}))
    assert len(calls) == 2


def test_an_agent_uses_it(weather: Any, calls: list[Any]) -> None:
    agents = pytest.importorskip("langchain.agents")

    class Model(ScriptedModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

    turns = [AIMessage("", tool_calls=[call(str(n), city="Bern")]) for n in range(2)]
    model = Model(turns[0], turns[1], "sunny")
    agent = agents.create_agent(model, [weather])
    told = agent.invoke({"messages": [("human", "weather?")]})["messages"]
    assert [m.content for m in told if isinstance(m, ToolMessage)] == ["Bern: sun for 1"] * 2
    assert told[-1].content == "sunny"
    assert calls == [("Bern", 1)]
