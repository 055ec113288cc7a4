"""Which endpoints a call may go to, on every face: pictures, lengths, affinity, and what a refusal says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, NoEndpointAvailable
from langchain_cluster.balancer import PrefixAffinity
from langchain_cluster.model.call import Request
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.faces.faces import Face, at_rest, cluster_of

PICTURE = [
    HumanMessage(
        [
            {"type": "text", "text": "what is it?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}},
        ]
    )
]
LONG = "word " * 3_000  # some 3,000 tokens, of which 2,500 are certain


def pool(*endpoints: Any, **options: Any) -> ClusteredLLM:
    return ClusteredLLM(list(endpoints), seed=1, **options)


def named(id: str, *script: Any, **told: Any) -> Endpoint:
    return Endpoint(id, ScriptedModel(*(script or (f"from {id}",))), **told)


def get_weather(city: str) -> str:
    """The weather of a city."""
    return city


def who(face: Face, llm: Any, asked: Any, times: int = 8, **arguments: Any) -> set[str]:
    return {cluster_of(face.ask(llm, asked, **arguments))["endpoint"] for _ in range(times)}


def test_pictures_go_to_those_that_see(face: Face) -> None:
    llm = pool(
        named("blind", capabilities={"tools"}),
        named("seer", capabilities={"tools", "vision"}),
        named("unknown"),
        balancer="round_robin",
    )
    assert who(face, llm, PICTURE) == {"seer", "unknown"}
    assert who(face, llm, "hello") == {"blind", "seer", "unknown"}
    assert at_rest(llm)


def test_a_picture_nobody_can_see_is_refused_with_the_condition(face: Face) -> None:
    llm = pool(named("gpu-1", capabilities={"tools"}, tier="own"), named("gpu-2", capabilities=()))
    with pytest.raises(NoEndpointAvailable) as nobody:
        face.ask(llm, PICTURE)
    assert str(nobody.value).startswith(
        "no endpoint available: of 2 endpoints vision leaves 0 (gpu-1: cannot do vision"
    )
    assert nobody.value.why == dict.fromkeys(["gpu-1", "gpu-2"], "cannot do vision")
    with pytest.raises(NoEndpointAvailable, match="tier 'own' leaves 1, vision leaves 0"):
        face.ask(llm, PICTURE, {"configurable": {"cluster": {"tier": "own"}}})


def test_a_profile_alone_refuses_nobody(face: Face) -> None:
    blind, seer = (
        ScriptedModel(name, profile={"image_inputs": sees}) for name, sees in (("no", False), ("yes", True))
    )
    llm = pool(Endpoint("blind", blind), Endpoint("seer", seer), balancer="round_robin")
    assert who(face, llm, PICTURE) == {"seer"}
    llm.cluster.pool.drain("seer")
    assert who(face, llm, PICTURE) == {"blind"}


def test_a_long_prompt_goes_where_it_fits_at_once(face: Face) -> None:
    llm = pool(
        named("small", context_window=1_000), named("large", context_window=32_000), balancer="round_robin"
    )
    message = face.ask(llm, LONG)
    assert (cluster_of(message)["endpoint"], cluster_of(message)["attempts"]) == ("large", 1)
    assert who(face, llm, "hello") == {"small", "large"}
    assert who(face, llm, "hello", max_tokens=2_000) == {"large"}


def test_a_prompt_too_long_for_all_fails_as_summarization_expects(
    face: Face, server: SimulatedServer, openai: Any
) -> None:
    server.fail(faults.ContextOverflow())
    llm = pool(
        Endpoint("small", openai("small"), context_window=500),
        Endpoint("large", openai("large"), context_window=1_000),
    )
    with pytest.raises(ContextOverflowError):
        face.ask(llm, LONG)
    assert (server.count("small"), server.count("large")) == (0, 1)


def test_an_estimate_that_was_too_high_does_no_harm(face: Face) -> None:
    llm = pool(named("small", context_window=500), named("large", context_window=1_000))
    assert who(face, llm, LONG) == {"large"}


def test_nothing_is_estimated_where_no_window_is_known(face: Face) -> None:
    keeper = Keeper()
    llm = pool(named("a"), named("b"), balancer=keeper)
    face.ask(llm, LONG)
    (request,) = keeper.asked
    assert (request.tokens, request.reserve) == (None, 0)


class Keeper:
    """A balancer that keeps what it was asked, and asks the first."""

    name = "keeper"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def pick(self, candidates: Any, request: Any, now: float, rng: Any) -> Any:
        self.asked.append(request)
        return candidates[0]


# -- affinity --------------------------------------------------------------------------------------


def homes() -> ClusteredLLM:
    return pool(*(named(f"gpu-{n}") for n in range(8)), balancer="consistent_hash")


@pytest.mark.parametrize("given", [lambda key: {"thread_id": key}, lambda key: {"cluster": {"key": key}}])
def test_a_conversation_stays_where_it_is(face: Face, given: Any) -> None:
    llm = homes()
    found = {}
    for key in ("t-1", "t-2", "t-3", "t-4", "t-5"):
        config = {"configurable": given(key)}
        (found[key],) = {cluster_of(face.ask(llm, f"turn {n}", config))["endpoint"] for n in range(6)}
    assert len(set(found.values())) > 1
    assert found == {key: home(key) for key in found}


def home(key: str) -> str:
    config: Any = {"configurable": {"thread_id": key}}
    return str(cluster_of(homes().invoke("elsewhere", config))["endpoint"])


def test_an_explicit_key_comes_before_the_thread(face: Face) -> None:
    llm = homes()
    config = {"configurable": {"thread_id": "t-1", "cluster": {"key": "t-2"}}}
    assert cluster_of(face.ask(llm, "hello", config))["endpoint"] == home("t-2")


def test_a_batch_sends_each_to_its_own_home() -> None:
    llm, keys = homes(), [f"t-{n}" for n in range(12)]
    # One at a time: of many at once some give way to the bound on load.
    configs: Any = [{"configurable": {"thread_id": key}, "max_concurrency": 1} for key in keys]
    answers = llm.batch(["hello"] * len(keys), configs)
    assert [cluster_of(answer)["endpoint"] for answer in answers] == [home(key) for key in keys]


@pytest.mark.parametrize("awaited", [False, True])
async def test_threads_of_a_graph_and_of_an_agent_stay_too(awaited: bool) -> None:
    llm = homes()

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [llm.invoke(state["messages"])]}

    async def aask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    built: Any = StateGraph(MessagesState)
    built.add_node("ask", aask if awaited else ask)
    built.add_edge(START, "ask")
    for graph in (built.compile(), create_agent(llm, [get_weather])):
        for key in ("t-1", "t-2", "t-3"):
            config: Any = {"configurable": {"thread_id": key}}
            said: Any = {"messages": [("human", "hello")]}
            asked: Counter[str] = Counter()
            for _ in range(4):
                state = await graph.ainvoke(said, config) if awaited else graph.invoke(said, config)
                last = state["messages"][-1]
                assert isinstance(last, AIMessage)
                asked[cluster_of(last)["endpoint"]] += 1
            assert asked == {home(key): 4}


@pytest.mark.parametrize("key", [5, 1.5, b"t-1", ["t-1"], {"id": 1}, True])
def test_a_key_that_is_not_text_is_an_error_that_says_so(face: Face, key: Any) -> None:
    llm = homes()
    with pytest.raises(ConfigError, match=r"configurable\.cluster\.key: .* is not a text"):
        face.ask(llm, "hello", {"configurable": {"cluster": {"key": key}}})
    assert at_rest(llm)


def test_a_call_brings_the_digest_of_its_beginning_along(plain_face: Face) -> None:
    class Told(PrefixAffinity):
        """Remembers what it was asked for."""

        def __init__(self) -> None:
            super().__init__()
            self.requests: list[Request] = []

        def prepare(self, candidates: Any, rng: Any) -> Any:
            choose = super().prepare(candidates, rng)

            def chosen(request: Request, now: float) -> Any:
                self.requests.append(request)
                return choose(request, now)

            return chosen

    balancer = Told()
    plain_face.ask(pool(named("a"), named("b"), balancer=balancer), LONG)
    (request,) = balancer.requests
    assert request.prefix is not None
    assert request.prefix_digest == balancer.digest_of(request.prefix, None)
