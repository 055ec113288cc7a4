"""The key of a whole call: each part that may change its answer changes it, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.cache import MemoryCache, ShardedCache
from langchain_cluster.testing import ScriptedModel

openai = pytest.importorskip("langchain_openai")
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NAME = st.text("abcdefgh_", min_size=1, max_size=8)
FORMATS = (None, {"type": "json_object"}, {"type": "text"})
SAMPLING: dict[str, Any] = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "max_tokens": st.integers(1, 99),
    "seed": st.integers(0, 99),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "logit_bias": st.dictionaries(st.text("123", min_size=1, max_size=3), st.integers(-9, 9), max_size=2),
    "reasoning_effort": st.sampled_from(["low", "high"]),
    "tool_choice": st.sampled_from(["auto", "none", "required"]),
    "model": NAME,
}


@dataclass(frozen=True)
class Call:
    """Everything that determines an answer."""

    endpoint: int = 0
    tenant: str | None = None
    system: str = ""
    user: str = ""
    user_name: str | None = None
    said: str = ""
    called: str = "look"
    call_args: tuple[tuple[str, Any], ...] = ()
    call_id: str = "1"
    result: str = ""
    result_id: str = "1"
    status: str = "success"
    stop: tuple[str, ...] | None = None
    tools: tuple[str, ...] = ()
    format: int = 0
    sampling: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def messages(self) -> list[BaseMessage]:
        call: Any = {"name": self.called, "args": dict(self.call_args), "id": self.call_id}
        return [
            SystemMessage(self.system),
            HumanMessage(self.user, name=self.user_name),
            AIMessage(self.said, tool_calls=[call]),
            ToolMessage(self.result, tool_call_id=self.result_id, status=self.status),
            HumanMessage(self.user),
        ]


PARTS: dict[str, Any] = {
    "endpoint": st.integers(0, 5),
    "tenant": st.none() | TEXT.filter(bool),
    "system": TEXT,
    "user": TEXT,
    "user_name": st.none() | NAME,
    "said": TEXT,
    "called": NAME,
    "call_args": st.dictionaries(NAME, TEXT | st.integers(-99, 99), max_size=2).map(
        lambda a: tuple(sorted(a.items()))
    ),
    "call_id": NAME,
    "result": TEXT,
    "result_id": NAME,
    "status": st.sampled_from(["success", "error"]),
    "stop": st.none() | st.lists(TEXT.filter(bool), min_size=1, max_size=2).map(tuple),
    "tools": st.lists(NAME, max_size=2, unique=True).map(tuple),
    "format": st.integers(0, len(FORMATS) - 1),
    "sampling": st.fixed_dictionaries({}, optional=SAMPLING).map(lambda s: tuple(sorted(s.items()))),
}
CALLS = st.builds(Call, **PARTS)


def model(**given: Any) -> Any:
    return openai.ChatOpenAI(base_url="http://127.0.0.1:1/v1", api_key="-", **given)


@pytest.fixture(scope="module")
def key() -> Callable[..., str]:
    """The one key of a call."""
    models = [
        model(model="m"), model(model="n"), model(model="m", temperature=0.5), model(model="m", max_tokens=9),
        model(model="m", seed=3), model(model="m", model_kwargs={"x": 1}),
    ]  # fmt: skip
    asked = Policy(cache=True)  # also with a temperature
    llms = [ClusteredLLM([Endpoint("e", one)], cache=True, policy=asked) for one in models]

    def key_of(call: Call, more: Any = None, llm: Any = None, **noise: Any) -> str:
        wishes = {} if call.tenant is None else {"tenant": call.tenant}
        given = dict(call.sampling) | noise
        if call.tools:
            given["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": {}}} for name in call.tools
            ]
        if FORMATS[call.format] is not None:
            given["response_format"] = FORMATS[call.format]
        config = {"configurable": {"cluster": wishes | ((more or {}).pop("cluster", {}))}, **(more or {})}
        (found,) = (llm or llms[call.endpoint]).cache_keys(
            call.messages, config, stop=None if call.stop is None else list(call.stop), **given
        )
        return str(found)

    return key_of


@pytest.mark.parametrize("part", PARTS)
@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
def test_another_value_of_any_part_is_another_key(part: str, data: Any, key: Callable[..., str]) -> None:
    call = data.draw(CALLS)
    other = data.draw(PARTS[part].filter(lambda value: value != getattr(call, part)))
    changed = replace(call, **{part: other})
    assert key(call) == key(replace(call))
    assert key(call) != key(changed)


@pytest.mark.parametrize("name", SAMPLING)
@given(data=st.data())
@settings(max_examples=15)
def test_another_value_of_any_parameter_is_another_key(name: str, data: Any, key: Callable[..., str]) -> None:
    call = replace(data.draw(CALLS), sampling=())
    one, other = data.draw(st.lists(SAMPLING[name], min_size=2, max_size=2, unique_by=repr))
    if one == other:  # 0 and 0.0
        return
    with_one = key(replace(call, sampling=((name, one),)))
    assert len({key(call), with_one, key(replace(call, sampling=((name, other),)))}) == 3


class Handler(BaseCallbackHandler):
    pass


NOISE: dict[str, Any] = {
    "timeout of the client": {"timeout": 5.0},
    "retries of the client": {"max_retries": 7},
    "tags": {"more": {"tags": ["a"]}},
    "metadata": {"more": {"metadata": {"a": 1}}},
    "callbacks": {"more": {"callbacks": [Handler()]}},
    "run name": {"more": {"run_name": "r"}},
    "concurrency": {"more": {"max_concurrency": 3}},
    "timeout of the call": {"more": {"cluster": {"timeout": 3.0}}},
    "attempts": {"more": {"cluster": {"policy": {"attempts": 9}}}},
    "waits": {"more": {"cluster": {"policy": {"retry_budget": None, "idle_timeout": 1.0}}}},
    "priority": {"more": {"cluster": {"priority": "critical"}}},
    "affinity": {"more": {"cluster": {"key": "session"}}},
    "zone": {"more": {"cluster": {"zone": "eu"}}},
    "refresh": {"more": {"cluster": {"cache": "refresh"}}},
    "cache tags": {"more": {"cluster": {"cache_tags": ["docs"]}}},
    "age": {"more": {"cluster": {"policy": {"fresh_for": 5.0}}}},
    "thread": {"more": {"configurable": {"thread_id": "1"}}},
    "streaming": {"stream": True, "stream_usage": True},
    "user": {"user": "ann"},
    "headers": {"extra_headers": {"x": "1"}},
}


@pytest.mark.parametrize("noise", NOISE)
@given(call=CALLS)
@settings(max_examples=8)
def test_what_does_not_change_an_answer_changes_no_key(
    noise: str, call: Call, key: Callable[..., str]
) -> None:
    given_noise = dict(NOISE[noise])
    more = given_noise.pop("more", None)
    if more is not None and "configurable" in more:
        thread = more["configurable"]
        wishes = {} if call.tenant is None else {"tenant": call.tenant}
        more = {"configurable": {**thread, "cluster": wishes}}
    assert key(call) == key(call, None if more is None else dict(more), **given_noise)


@given(call=CALLS)
@settings(max_examples=15)
def test_the_agent_and_the_pool_around_an_endpoint_change_no_key(call: Call, key: Callable[..., str]) -> None:
    names = ["m", "n"]
    pools = [
        ClusteredLLM(
            [Endpoint(f"e{n}", model(model="m"), weight=n + 1.0, zone="eu") for n in range(size)],
            cache=True,
            policy=Policy(cache=True, attempts=size + 1),
        )
        for size in (1, 3)
    ]
    call = replace(call, endpoint=0)
    views = [view for pool in pools for view in (pool, *(pool.for_agent(name) for name in names))]
    assert {key(call, llm=view) for view in views} == {key(call)}


@pytest.mark.parametrize("sharded", [False, True])
def test_a_thousand_tenants_with_one_question_never_meet(sharded: bool) -> None:
    """They ask at one time, and again: each gets its own answer, and nobody another's."""
    answers = [f"answer {number}" for number in range(1_000)]
    model = ScriptedModel(*answers)
    store = ShardedCache([MemoryCache(), MemoryCache()]) if sharded else MemoryCache()
    llm = ClusteredLLM([Endpoint("e", model)], cache=store)
    # Names that look like one another, like keys, and like globs.
    tenants = [f"t{n}" for n in range(940)] + [
        "*",
        "t*",
        "t?",
        "[t]1",
        "t1\n",
        " t1",
        "t1 ",
        "T1",
        "{t1}",
        "}{",
    ]
    tenants += [f"lc:{{t{n}}}:" for n in range(20)] + ["ｔ1", "t\u0661", "t1\u200b", "null", "None"]
    tenants += [f"t{n}|m" for n in range(25)]
    assert len(set(tenants)) == 1_000

    async def ask(tenant: str) -> tuple[str, str]:
        message = await llm.ainvoke("my balance?", {"configurable": {"cluster": {"tenant": tenant}}})
        return message.text, message.response_metadata["cluster"]["cache"]

    async def all_of_them() -> list[tuple[str, str]]:
        return await asyncio.gather(*map(ask, tenants))

    first, second = asyncio.run(all_of_them()), asyncio.run(all_of_them())
    assert model.calls == 1_000
    assert {source for _, source in first} == {"miss"}
    assert {source for _, source in second} == {"memory"}
    assert [text for text, _ in first] == [text for text, _ in second]
    assert {text for text, _ in first} == set(answers)
    assert llm.cluster.cache.invalidate(tenant="t1") == 1
    assert llm.cluster.cache.invalidate(tenant="*") == 1
