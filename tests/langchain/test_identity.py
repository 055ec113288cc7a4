"""A cluster as a value: copied, pickled, shown and asked for its profile, it stays the one cluster."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, dumps
from langchain_core.runnables import RunnableBinding

from langchain_cluster import Cluster, ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.testing import ScriptedModel, SimulatedServer


def scripted(**options: Any) -> ClusteredLLM:
    return ClusteredLLM([Endpoint(name, ScriptedModel("hello")) for name in "ab"], **options)


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda llm: llm.model_copy(),
        lambda llm: llm.model_copy(deep=True),
        lambda llm: llm.for_agent("planner"),
        lambda llm: llm.for_agent("planner", attempts=2),
    ],
    ids=["copy", "deepcopy", "model_copy", "deep model_copy", "for_agent", "for_agent with policy"],
)
def test_a_copy_is_another_face_of_the_same_cluster(copied: Callable[[Any], Any]) -> None:
    llm = scripted(temperature=0.5)
    other = copied(llm)
    assert other is not llm
    assert isinstance(other, ClusteredLLM)
    assert other.cluster is llm.cluster
    assert other.temperature == 0.5
    other.invoke("hi")
    assert llm.cluster.stats()["calls"] == 1


def test_bindings_hold_the_same_cluster() -> None:
    llm = scripted()
    for bound in (llm.bind(x=1), llm.with_config(tags=["a"]), llm.bind_tools([])):
        assert isinstance(bound, RunnableBinding)
        assert bound.bound is llm
        assert copy.deepcopy(bound).bound.cluster is llm.cluster  # type: ignore[attr-defined]


def test_a_pickle_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"live connections.*from_config can"):
        pickle.dumps(scripted())


def test_one_from_a_config_is_pickled_as_its_config(
    server: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = {"id": "a", "model": "openai:m", "url": server.openai_url("a"), "api_key_env": "KEY_OF_A"}
    monkeypatch.setenv("KEY_OF_A", "-")
    llm = ClusteredLLM.from_config({"endpoints": [endpoint]})
    again = pickle.loads(pickle.dumps(llm.for_agent("planner")))
    assert again.agent == "planner"
    assert [member.endpoint.id for member in again.cluster.pool] == ["a"]
    assert again.cluster is not llm.cluster
    assert again.invoke("hi").text == "a says: hi"


def test_it_shows_who_can_answer() -> None:
    llm = scripted(balancer="round_robin")
    assert repr(llm) == str(llm) == "ClusteredLLM([a, b], balancer='round_robin')"
    assert repr(llm.for_agent("planner")) == "ClusteredLLM([a, b], balancer='round_robin', agent='planner')"
    many = ClusteredLLM([Endpoint(f"e{n}", ScriptedModel()) for n in range(7)])
    assert repr(many).startswith("ClusteredLLM([e0, e1, e2, e3, e4, and 2 more]")
    assert "bound=ClusteredLLM([a, b]" in repr(llm.bind(x=1))


def test_no_secret_is_shown(models: dict[str, Any]) -> None:
    from langchain_openai import ChatOpenAI

    secret = "sk-very-secret"
    model = ChatOpenAI(base_url="http://user:pass@127.0.0.1:1/v1", model="m", api_key=secret)  # type: ignore[arg-type]
    endpoint = Endpoint("a", model, url="http://user:pass@127.0.0.1:1/v1")
    llm = ClusteredLLM([endpoint])
    shown = [repr(llm), str(llm), repr(llm.cluster), repr(endpoint), repr(llm.bind_tools([]))]
    shown += [dumps(llm), json.dumps(dumpd(llm)), json.dumps(llm.model_dump(), default=str)]
    shown += [str(llm._identifying_params), str(llm._get_invocation_params()), str(llm.cluster.stats())]
    for text in shown:
        assert secret not in text
        assert "pass@" not in text


def test_it_is_dumped_as_what_cannot_be_loaded() -> None:
    llm = scripted(temperature=0.5)
    assert not llm.is_lc_serializable()
    told: Any = dumpd(llm)
    assert (told["type"], told["name"]) == ("not_implemented", "ClusteredLLM")
    assert told["id"][-1] == "ClusteredLLM"
    assert llm.model_dump()["temperature"] == 0.5
    assert "cluster" not in llm.model_dump()
    assert llm.model_copy(update={"name": "named"})._serialized["name"] == "named", "not the first one's"


def test_its_profile_is_what_all_can_do() -> None:
    def profile(*profiles: Any) -> Any:
        endpoints = [Endpoint(str(n), ScriptedModel(profile=given)) for n, given in enumerate(profiles)]
        return ClusteredLLM(endpoints).profile

    large = {"max_input_tokens": 200_000, "tool_calling": True, "structured_output": True, "pdf_inputs": True}
    small = {"max_input_tokens": 8_000, "tool_calling": True, "structured_output": False}
    assert profile(large, small) == small
    assert profile(large, large) == large
    assert profile(large, None) is None
    assert profile(None) is None
    given = {"max_input_tokens": 5}
    assert ClusteredLLM([Endpoint("a", ScriptedModel())], profile=given).profile == given


def test_every_gate_for_chat_models_lets_it_in() -> None:
    llm = scripted()
    assert isinstance(llm, BaseChatModel)
    assert isinstance(llm.for_agent("planner"), BaseChatModel)
    assert llm.get_num_tokens is not None
    assert llm.InputType is not None
    assert llm.OutputType is not None
    assert llm.get_input_jsonschema()
    assert llm.get_output_jsonschema()
    assert llm.get_graph().nodes


def test_a_lone_cluster_may_have_many_faces() -> None:
    with Cluster([Endpoint("a", ScriptedModel("hello"))]) as cluster:
        one, two = ClusteredLLM(cluster=cluster, temperature=0.0), ClusteredLLM(cluster=cluster)
        assert one.invoke("hi").text == two.invoke("hi").text == "hello"
        assert cluster.stats()["calls"] == 2
    with pytest.raises(Exception, match="closed"):
        one.invoke("hi")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "the pool is empty"),
        ({"endpoints": []}, "the pool is empty"),
        ({"endpoints": Endpoint("a", ScriptedModel())}, "not a list of Endpoint"),
        ({"endpoints": [ScriptedModel()]}, "Endpoint"),
        ({"endpoints": ["http://a"]}, "Endpoint"),
        ({"endpoints": [Endpoint("a", "gpt")]}, "not a LangChain chat model"),
        ({"endpoints": [Endpoint("a", ScriptedModel()), Endpoint("a", ScriptedModel())]}, "a"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "polcy": Policy()}, "did you mean 'policy'"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "policy": 3}, "not a Policy"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "policy": {"atempts": 3}}, "'attempts'"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "balancer": "p3c"}, "balancer"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "cache": {}}, "CacheStore"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "agents": {"planner": 3}}, "agents.planner"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "timeout": -1}, "timeout"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "max_retries": -2}, "attempts"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "temperature": "hot"}, "temperature"),
        ({"endpoints": [Endpoint("a", ScriptedModel())], "discovery": 3}, "Discovery"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_at_construction(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ClusteredLLM(**arguments)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tenat": "a"}, "did you mean 'tenant'"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"policy": 3}, "neither a Policy"),
        ({"policy": {"atempts": 1}}, "did you mean 'attempts'"),
        ({"cache": "yes"}, "refresh"),
        ({"priority": "high"}, "critical"),
        ({"tags": 3}, "list of texts"),
        ({"key": 3}, "not a text"),
        ("fast", "not a mapping"),
    ],
    ids=repr,
)
async def test_what_is_wrong_with_a_calls_settings_is_said_on_every_path(settings: Any, told: str) -> None:
    llm = scripted()
    config: Any = {"configurable": {"cluster": settings}}
    with pytest.raises(ConfigError, match=told):
        llm.invoke("hi", config)
    with pytest.raises(ConfigError, match=told):
        await llm.ainvoke("hi", config)
    with pytest.raises(ConfigError, match=told):
        list(llm.stream("hi", config))
    with pytest.raises(ConfigError, match=told):
        [chunk async for chunk in llm.astream("hi", config)]
    with pytest.raises(ConfigError, match=told):
        llm.batch(["hi"], config)


async def test_a_calls_settings_reach_the_cluster_on_every_path() -> None:
    llm = scripted(cache=True)
    config: Any = {"configurable": {"cluster": {"cache": False}}}
    for _ in range(2):
        assert llm.invoke("hi", config).response_metadata["cluster"]["cache"] == "off"
        assert (await llm.ainvoke("hi", config)).response_metadata["cluster"]["cache"] == "off"
        for answer in [*llm.batch(["hi"], config), *await llm.abatch(["hi"], config)]:
            assert answer.response_metadata["cluster"]["cache"] == "off"
        merged: Any = None
        for chunk in llm.with_config(config).stream("hi"):
            merged = chunk if merged is None else merged + chunk
        assert merged.response_metadata["cluster"]["cache"] == "off"
    assert llm.cluster.cache.stats().sets == 0


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"endpoints": [Endpoint("c", ScriptedModel())]}, "ClusteredLLM.endpoints: is the cluster's"),
        ({"cache": True}, "ClusteredLLM.cache: is the cluster's"),
        ({"balancer": "weighted"}, "ClusteredLLM.balancer: is the cluster's"),
    ],
    ids=["endpoints", "cache", "balancer"],
)
def test_a_shared_cluster_keeps_what_is_its_own(own: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ClusteredLLM(cluster=scripted().cluster, **own)


def test_what_is_no_cluster_is_not_taken_for_one() -> None:
    other: Any = scripted()
    with pytest.raises(ConfigError, match=r"ClusteredLLM.cluster: a ClusteredLLM is not a Cluster"):
        ClusteredLLM(cluster=other)


def test_a_view_of_a_model_with_a_policy_of_its_own_keeps_it() -> None:
    agents = {"planner": {"attempts": 7}}
    own = Policy(attempts=1)
    llm = ClusteredLLM(cluster=scripted(agents=agents).cluster, policy=own)
    assert llm.for_agent("writer").policy == own
    assert llm.for_agent("planner").policy is None, "the cluster knows one for it"


@pytest.mark.parametrize("name", [5, "", None])
def test_a_view_is_of_somebody_with_a_name(name: Any) -> None:
    with pytest.raises(ConfigError, match="is no agent's name"):
        scripted().for_agent(name)
