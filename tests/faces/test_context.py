"""What a config says of a call reaches it, on every path a program may take to the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from langchain_cluster import ClusteredLLM, ConfigError, DeadlineExceeded, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import CallEnded
from langchain_cluster.testing import ScriptedModel
from tests.faces.faces import Face, Heard, cluster_of

PROMPT = ChatPromptTemplate.from_messages([("human", "{text}")])
pytestmark = pytest.mark.filterwarnings("ignore:.*beta:Warning")


def get_weather(city: str) -> str:
    """The weather of a city."""
    return city


def chain(llm: Any) -> Any:
    return PROMPT | llm | StrOutputParser()


def nested(llm: Any) -> Any:
    # No config is handed on: LangChain carries it in a context variable.
    return RunnableLambda(lambda text: llm.invoke(text).content)


def anested(llm: Any) -> Any:
    async def call(text: str) -> Any:
        return (await llm.ainvoke(text)).content

    return RunnableLambda(call)


def nested_stream(llm: Any) -> Any:
    return RunnableLambda(lambda text: "".join(chunk.content for chunk in llm.stream(text)))


async def events_v2(llm: Any, text: str, config: Any) -> str:
    said = ""
    async for event in llm.astream_events(text, config, version="v2"):
        if event["event"] == "on_chat_model_stream":
            said += event["data"]["chunk"].content
    return said


async def chain_events(llm: Any, text: str, config: Any) -> str:
    said = ""
    async for event in chain(llm).astream_events({"text": text}, config, version="v2"):
        if event["event"] == "on_chat_model_stream":
            said += event["data"]["chunk"].content
    return said


async def events_v3(llm: Any, text: str, config: Any) -> str:
    stream = await llm.astream_events(text, config, version="v3")
    return str((await stream).text)


async def first_completed(llm: Any, text: str, config: Any) -> Any:
    async for _, answer in llm.abatch_as_completed([text], config):
        return answer


async def joined(chunks: Any) -> Any:
    return "".join([chunk if isinstance(chunk, str) else chunk.content async for chunk in chunks])


Path = Callable[[Any, str, Any], Any]
PATHS: dict[str, Path] = {
    "invoke": lambda llm, text, config: llm.invoke(text, config),
    "ainvoke": lambda llm, text, config: llm.ainvoke(text, config),
    "stream": lambda llm, text, config: "".join(c.content for c in llm.stream(text, config)),
    "astream": lambda llm, text, config: joined(llm.astream(text, config)),
    "batch": lambda llm, text, config: llm.batch([text], config)[0],
    "batch of configs": lambda llm, text, config: llm.batch([text], [config])[0],
    "abatch": lambda llm, text, config: llm.abatch([text], config),
    "batch_as_completed": lambda llm, text, config: next(iter(llm.batch_as_completed([text], config)))[1],
    "abatch_as_completed": first_completed,
    "stream_events v3": lambda llm, text, config: llm.stream_events(text, config, version="v3").output.text,
    "astream_events v2": events_v2,
    "astream_events v3": events_v3,
    "chain invoke": lambda llm, text, config: chain(llm).invoke({"text": text}, config),
    "chain ainvoke": lambda llm, text, config: chain(llm).ainvoke({"text": text}, config),
    "chain stream": lambda llm, text, config: "".join(chain(llm).stream({"text": text}, config)),
    "chain astream": lambda llm, text, config: joined(chain(llm).astream({"text": text}, config)),
    "chain batch": lambda llm, text, config: chain(llm).batch([{"text": text}], config)[0],
    "chain astream_events": chain_events,
    "nested invoke": lambda llm, text, config: nested(llm).invoke(text, config),
    "nested ainvoke": lambda llm, text, config: anested(llm).ainvoke(text, config),
    "nested stream": lambda llm, text, config: nested_stream(llm).invoke(text, config),
    "nested to a thread": lambda llm, text, config: nested(llm).ainvoke(text, config),
    "nested in a batch": lambda llm, text, config: nested(llm).batch([text], config)[0],
    "with_config": lambda llm, text, config: llm.with_config(config).invoke(text),
    "with_config stream": lambda llm, text, config: "".join(
        c.content for c in llm.with_config(config).stream(text)
    ),
    "with_config ainvoke": lambda llm, text, config: llm.with_config(config).ainvoke(text),
    "with_config v3": lambda llm, text, config: (
        llm.with_config(config).stream_events(text, version="v3").output.text
    ),
    "with_config bind_tools": lambda llm, text, config: (
        llm.with_config(config).bind_tools([get_weather]).invoke(text)
    ),
    "bind": lambda llm, text, config: llm.bind(stop=["###"]).invoke(text, config),
    "bind astream": lambda llm, text, config: joined(llm.bind(stop=["###"]).astream(text, config)),
    "bind_tools": lambda llm, text, config: llm.bind_tools([get_weather]).invoke(text, config),
    "bind_tools ainvoke": lambda llm, text, config: llm.bind_tools([get_weather]).ainvoke(text, config),
    "bind then bind_tools": lambda llm, text, config: (
        llm.bind(stop=["###"]).bind_tools([get_weather]).invoke(text, config)
    ),
    "for_agent": lambda llm, text, config: llm.for_agent("planner").invoke(text, config),
    "for_agent astream": lambda llm, text, config: joined(llm.for_agent("planner").astream(text, config)),
    "copy": lambda llm, text, config: llm.model_copy().invoke(text, config),
}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Path:
    """Asks on one path; the answer as a text."""
    take = PATHS[request.param]

    def go(llm: Any, text: str, config: Any = None) -> str:
        answer = take(llm, text, config)
        if asyncio.iscoroutine(answer):
            answer = runner.run(answer)
        if isinstance(answer, list):
            (answer,) = answer
        return answer if isinstance(answer, str) else str(answer.content)

    return go


def many(**options: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [
            Endpoint("plain", ScriptedModel("plain")),
            Endpoint("near", ScriptedModel("near"), tags={"eu", "gpu"}, tier="large", zone="z1"),
            Endpoint("far", ScriptedModel("far"), tags={"eu"}, tier="large", zone="z2"),
            *(Endpoint(f"plain-{n}", ScriptedModel("plain")) for n in range(3)),  # zones count from six
        ],
        **options,
    )


def with_cluster(**settings: Any) -> dict[str, Any]:
    return {"configurable": {"cluster": settings}}


def test_every_key_reaches_the_call(path: Path) -> None:
    llm = many()
    heard = Heard(llm)
    config = {
        "configurable": {
            "thread_id": "thread-7",
            "cluster": {
                "tenant": "acme",
                "tier": "large",
                "tags": ["eu"],
                "zone": "z1",
                "priority": "critical",
            },
        },
        "metadata": {"lc_agent_name": "planner"},
    }
    assert path(llm, "hello", config) == "near"
    (ended,) = heard.of(CallEnded)
    request = ended.request
    assert request.key == "thread-7"
    assert request.agent == "planner"
    assert (request.tenant, request.tier, request.zone) == ("acme", "large", "z1")
    assert request.tags == {"eu"}
    assert request.priority == "critical"


def test_a_key_of_its_own_comes_before_the_thread(path: Path) -> None:
    llm = many()
    heard = Heard(llm)
    path(llm, "hello", {"configurable": {"thread_id": "thread-7", "cluster": {"key": "session-1"}}})
    assert heard.of(CallEnded)[0].request.key == "session-1"


def test_a_policy_for_the_call_is_followed(path: Path) -> None:
    model = ScriptedModel(ConnectionError("down"))
    llm = ClusteredLLM([Endpoint("a", model)], policy=Policy(attempts=3, wait=lambda _: 0.0), breaker=None)
    with pytest.raises(ConnectionError):
        path(llm, "hello", with_cluster(policy={"attempts": 2}))
    assert model.calls == 2
    with pytest.raises(ConnectionError):
        path(llm, "hello", with_cluster(policy=Policy(attempts=1)))
    assert model.calls == 3


def test_a_timeout_for_the_call_is_kept(path: Path) -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel(delay=0.3))], policy=Policy(timeout=30.0))
    with pytest.raises(DeadlineExceeded) as late:
        path(llm, "hello", with_cluster(timeout=0.05))
    assert late.value.after == 0.05


def test_the_cache_is_left_alone_or_renewed_as_the_call_says(path: Path) -> None:
    model = ScriptedModel("first", "second", "third")
    llm = ClusteredLLM([Endpoint("a", model)], cache=MemoryCache())
    assert path(llm, "hello") == "first"
    assert path(llm, "hello") == "first"
    assert path(llm, "hello", with_cluster(cache=False)) == "second"
    assert path(llm, "hello") == "first"
    assert path(llm, "hello", with_cluster(cache="refresh")) == "third"
    assert path(llm, "hello") == "third"


def test_the_agents_policy_is_found_by_the_name_langchain_reports(path: Path) -> None:
    model = ScriptedModel(ConnectionError("down"))
    llm = ClusteredLLM(
        [Endpoint("a", model)],
        policy=Policy(attempts=3, wait=lambda _: 0.0),
        agents={"planner": Policy(attempts=1)},
        breaker=None,
    )
    with pytest.raises(ConnectionError):
        path(llm, "hello", {"metadata": {"lc_agent_name": "planner"}})
    assert model.calls == 1


def test_an_unknown_key_is_an_error_that_names_the_valid_ones(path: Path) -> None:
    llm = many()
    with pytest.raises(ConfigError) as wrong:
        path(llm, "hello", with_cluster(tennant="acme"))
    said = str(wrong.value)
    assert "configurable.cluster" in said
    assert "'tennant'" in said
    assert "did you mean 'tenant'?" in said
    for key in ("policy", "key", "tenant", "tier", "timeout", "priority", "cache", "tags", "zone"):
        assert key in wrong.value.valid
    assert llm.cluster.stats()["calls"] == 0
    assert llm.cluster.in_flight == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"tenant": 7},
        {"key": 7},
        {"tier": ["large"]},
        {"zone": b"z1"},
        {"timeout": "soon"},
        {"timeout": -1},
        {"timeout": True},
        {"timeout": [1]},
        {"cache": "yes"},
        {"cache": 1.5},
        {"tags": 7},
        {"tags": [7]},
        {"priority": "high"},
        {"priority": ["critical"]},
        {"policy": 3},
        {"policy": {"attempt": 3}},
        {"policy": {"attempts": 0}},
    ],
    ids=str,
)
def test_a_value_that_is_not_valid_is_an_error_before_anybody_is_asked(
    settings: dict[str, Any], face: Face
) -> None:
    llm = many()
    with pytest.raises(ConfigError):
        face.ask(llm, "hello", with_cluster(**settings))
    assert llm.cluster.stats()["calls"] == 0


def test_settings_that_are_no_mapping_are_an_error(face: Face) -> None:
    with pytest.raises(ConfigError, match="is not a mapping"):
        face.ask(many(), "hello", {"configurable": {"cluster": "large"}})


def test_the_call_comes_before_the_view_and_the_view_before_the_agents_name(face: Face) -> None:
    model = ScriptedModel(ConnectionError("down"))
    llm = ClusteredLLM(
        [Endpoint("a", model)],
        policy=Policy(attempts=5, wait=lambda _: 0.0),
        agents={"planner": Policy(attempts=4, wait=lambda _: 0.0)},
        breaker=None,
    )
    view = llm.for_agent("planner", attempts=3)
    named = {"metadata": {"lc_agent_name": "planner"}}

    def attempts(asked: Any, config: Any = None) -> int:
        before = model.calls
        with pytest.raises(ConnectionError):
            face.ask(asked, "hello", config)
        return model.calls - before

    assert attempts(llm) == 5
    assert attempts(llm, named) == 4
    assert attempts(llm.for_agent("planner")) == 4
    assert attempts(view) == 3
    assert attempts(view, named) == 3
    assert attempts(view, {**named, **with_cluster(policy={"attempts": 2})}) == 2
    assert llm.cluster.policy.attempts == 5


def test_a_view_keeps_the_name_of_its_agent(face: Face) -> None:
    llm = many()
    heard = Heard(llm)
    face.ask(llm.for_agent("writer"), "hello", {"metadata": {"lc_agent_name": "planner"}})
    assert heard.of(CallEnded)[0].request.agent == "writer"


def test_calls_side_by_side_keep_their_settings_apart(runner: asyncio.Runner) -> None:
    llm = many()
    heard = Heard(llm)

    async def one(n: int) -> None:
        await llm.ainvoke(f"question {n}", with_cluster(tenant=f"tenant {n}"))

    async def all_of_them() -> None:
        await asyncio.gather(*(one(n) for n in range(50)))

    runner.run(all_of_them())
    llm.batch(
        [f"question {n}" for n in range(50, 80)], [with_cluster(tenant=f"tenant {n}") for n in range(50, 80)]
    )
    told = {e.request.payload.messages[0].content: e.request.tenant for e in heard.of(CallEnded)}
    assert told == {f"question {n}": f"tenant {n}" for n in range(80)}


def test_nothing_of_ours_reaches_the_endpoint(face: Face) -> None:
    model = ScriptedModel("hi")
    llm = ClusteredLLM([Endpoint("a", model)])
    face.ask(llm, "hello", with_cluster(tenant="acme", timeout=5))
    assert model.arguments == [{}]


def test_where_the_answer_came_from_is_told_on_one_chunk(face: Face) -> None:
    message = face.ask(many(), "hello")
    assert set(cluster_of(message)) == {
        "endpoint", "attempts", "cache", "tier", "hedged", "seconds", "cost_usd",
    }  # fmt: skip
    if face.streams:
        assert isinstance(message, AIMessageChunk)
        assert message.chunk_position == "last"


@pytest.mark.parametrize("priority", ["critical", "normal", "sheddable"])
def test_a_call_has_one_of_three_priorities(priority: str, face: Face) -> None:
    llm = many()
    heard = Heard(llm)
    face.ask(llm, "hello", with_cluster(priority=priority))
    face.ask(llm, "hello")
    assert [e.request.priority for e in heard.of(CallEnded)] == [priority, "normal"]
