"""Answers by meaning through every face: what may serve another question, and all that must not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

pytest.importorskip("numpy")

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.cache.semantic import SemanticCache
from langchain_cluster.model.events import AnswerAudited, AuditFailed, CacheFailed, CallEnded
from langchain_cluster.testing import MemoryJournals, ScriptedModel, SimulatedServer
from langchain_cluster.testing.simulated import ToolCall
from tests.cache.semantic.embedding import WordEmbeddings
from tests.faces.faces import Face, Heard, at_rest, cluster_of, text_of

ASKED = "How do I reset my password?"
AGAIN = "How can I recover my password please"
DOT = "data:image/png;base64,iVBORw0KGgo="


def meant(*models: Any, embeddings: Any = None, cache: Any = None, policy: Any = None, **options: Any) -> Any:
    """A model with a semantic cache of these options."""
    endpoints = [Endpoint(f"e{n}", model) for n, model in enumerate(models)]
    semantic = SemanticCache(embeddings or WordEmbeddings(), seed=1, **options)
    return ClusteredLLM(endpoints, semantic_cache=semantic, cache=cache, policy=policy or Policy())


def told(**settings: Any) -> Any:
    return {"configurable": {"cluster": settings}}


def blocks(*further: Any) -> list[HumanMessage]:
    return [HumanMessage([{"type": "text", "text": AGAIN}, *further])]


def get_weather(city: str) -> str:
    """The weather of a city."""
    return city


@pytest.mark.parametrize("exact", [False, True], ids=["alone", "behind an exact cache"])
def test_a_question_that_means_the_same_is_answered_without_a_model(face: Face, exact: bool) -> None:
    model = ScriptedModel("Click on it.", "other")
    llm = meant(model, cache=MemoryCache() if exact else None)
    heard = Heard(llm)
    assert cluster_of(face.ask(llm, ASKED))["cache"] == "miss"
    message = face.ask(llm, AGAIN)
    assert text_of(message) == "Click on it."
    where = cluster_of(message)
    assert [where[key] for key in ("cache", "endpoint", "attempts", "cost_usd")] == ["semantic", None, 0, 0.0]
    assert cluster_of(face.ask(llm, ASKED))["cache"] == ("memory" if exact else "semantic")
    assert text_of(face.ask(llm, "Where is the station?")) == "other"
    assert [event.answer.source for event in heard.of(CallEnded)][:2] == ["miss", "semantic"]
    assert llm.cluster.stats()["cache_hits"] == 2
    assert at_rest(llm)


@pytest.mark.parametrize(
    "other",
    [
        lambda face, llm: face.ask(llm, AGAIN, told(tenant="acme")),
        lambda face, llm: face.ask(llm, AGAIN, stop=["###"]),
        lambda face, llm: face.ask(llm, AGAIN, max_tokens=5),
        lambda face, llm: face.ask(llm, AGAIN, model="another"),
        lambda face, llm: face.ask(llm.bind_tools([get_weather]), AGAIN),
        lambda face, llm: face.ask(llm.bind(response_format={"type": "json_object"}), AGAIN),
        lambda face, llm: face.ask(llm, [SystemMessage("be brief"), HumanMessage(AGAIN)]),
        lambda face, llm: face.ask(llm, [HumanMessage("hi"), AIMessage("hello"), HumanMessage(AGAIN)]),
        lambda face, llm: face.ask(llm, [HumanMessage(AGAIN, name="ann")]),
        lambda face, llm: face.ask(llm, AGAIN, temperature=0.7),
        lambda face, llm: face.ask(llm, AGAIN, told(cache=True), temperature=0.7),
        lambda face, llm: face.ask(llm, AGAIN, n=2),
        lambda face, llm: face.ask(llm, AGAIN, told(cache=False)),
        lambda face, llm: face.ask(llm, AGAIN, told(cache="refresh")),
        lambda face, llm: face.ask(llm, [AIMessage(AGAIN)]),
        lambda face, llm: face.ask(llm, "How can I recover my colleague's password"),
        lambda face, llm: face.ask(llm, blocks({"type": "image_url", "image_url": {"url": DOT}})),
        lambda face, llm: face.ask(llm, blocks({"type": "mystery"})),
        lambda face, llm: face.ask(llm, blocks({"type": "text-plain", "text": "my notes"})),
    ],
    ids=[
        "tenant", "stop", "max_tokens", "model", "tools", "format", "system", "history", "name",
        "temperature", "temperature with the cache", "n", "off", "refresh", "role", "guard", "image", "unknown block", "document",  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_not_the_same_is_asked(other: Any, face: Face) -> None:
    llm = meant(ScriptedModel("first", "second", "third"))
    assert text_of(face.ask(llm, ASKED)) == "first"
    assert text_of(other(face, llm)) == "second"


def test_a_text_in_blocks_is_a_text(face: Face) -> None:
    llm = meant(ScriptedModel("first", "second"))
    assert text_of(face.ask(llm, ASKED)) == "first"
    assert text_of(face.ask(llm, blocks())) == "first"


def test_the_same_question_within_another_conversation_is_another(face: Face) -> None:
    llm = meant(ScriptedModel("1", "2", "3"), threshold=0.5)

    def ask(about: str) -> str:
        history = [HumanMessage(f"I have a {about}"), AIMessage("I see."), HumanMessage("cancel it please")]
        return text_of(face.ask(llm, history))

    assert [ask("flat"), ask("car"), ask("flat")] == ["1", "2", "1"]


def test_the_result_of_a_tool_is_never_compared(face: Face) -> None:
    llm = meant(ScriptedModel("1", "2"), threshold=0.5)
    call = {"name": "get_weather", "args": {"city": "Ghent"}, "id": "1"}

    def ask(result: str) -> str:
        said = ToolMessage(result, tool_call_id="1")
        return text_of(face.ask(llm, [HumanMessage("weather?"), AIMessage("", tool_calls=[call]), said]))

    assert [ask("it rains now"), ask("it rains")] == ["1", "2"]


def test_answers_with_tool_calls_and_cut_ones_are_not_kept(
    face: Face, server: SimulatedServer, openai: Any
) -> None:
    server.behave("tools", reply=ToolCall("get_weather", {"city": "Paris"}))
    llm = meant(openai("tools"), openai("tools"))
    face.ask(llm.bind_tools([get_weather]), "weather in Paris?")
    face.ask(llm, "hello there my friend", max_tokens=3)
    assert len(llm.cluster.semantic_cache) == 0


def test_endpoints_of_another_model_do_not_answer_for_it(face: Face) -> None:
    llm = ClusteredLLM(
        [
            Endpoint("a", ScriptedModel("from a", model_name="a"), tier="a"),
            Endpoint("b", ScriptedModel("from b", model_name="b"), tier="b"),
        ],
        semantic_cache=SemanticCache(WordEmbeddings()),
    )

    def ask(text: str, tier: str) -> str:
        return text_of(face.ask(llm, text, {"configurable": {"cluster": {"tier": tier}}}))

    assert [ask(ASKED, "a"), ask(AGAIN, "b"), ask(AGAIN, "a")] == ["from a", "from b", "from a"]


@pytest.mark.parametrize("broken", ["raises", "hangs"])
def test_an_embedder_that_fails_is_a_miss(broken: str, face: Face) -> None:
    gate = threading.Event()

    class Broken(WordEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            if broken == "raises":
                raise RuntimeError("what was asked")
            gate.wait(10)
            return super().embed_query(text)

        async def aembed_query(self, text: str) -> list[float]:
            return await asyncio.to_thread(self.embed_query, text)

    llm = meant(ScriptedModel("one", "two"), embeddings=Broken(), policy=Policy(timeout=0.4))
    heard = Heard(llm)
    try:
        assert text_of(face.ask(llm, ASKED)) == "one"
    finally:
        gate.set()
    failures = [(event.operation, event.error) for event in heard.of(CacheFailed)]
    error = "RuntimeError" if broken == "raises" else "TimeoutError"
    assert failures == [("store by meaning", error)]


def test_an_embedder_whose_length_changed_is_a_miss_and_an_event(face: Face) -> None:
    embeddings = WordEmbeddings()
    llm = meant(ScriptedModel("one", "two"), embeddings=embeddings)
    heard = Heard(llm)
    face.ask(llm, ASKED)
    embeddings.dimensions = 32
    assert text_of(face.ask(llm, AGAIN)) == "two"
    assert [event.error for event in heard.of(CacheFailed)] == ["ConfigError"] * 2


def test_identical_calls_are_still_one(runner: asyncio.Runner) -> None:
    model = ScriptedModel("the answer", delay=0.2)
    embeddings = WordEmbeddings()
    llm = meant(model, embeddings=embeddings)

    async def together(text: str) -> list[Any]:
        return list(await asyncio.gather(*(llm.ainvoke(text) for _ in range(20))))

    assert {m.content for m in runner.run(together(ASKED))} == {"the answer"}
    assert model.calls == 1
    before = embeddings.calls
    assert {m.content for m in runner.run(together(AGAIN))} == {"the answer"}
    assert model.calls == 1
    assert embeddings.calls == before + 1, "whoever joins an identical call does not look for itself"


@pytest.mark.parametrize("agrees", [True, False])
def test_a_hit_is_checked_beside_the_call(agrees: bool, plain_face: Face) -> None:
    # Every hit is checked, the last one too, which may be over before its count is read.
    model = ScriptedModel("yes") if agrees else ScriptedModel("yes", "no", "later")
    llm = meant(model, audit=1.0)
    checked = threading.Event()
    events: list[Any] = []

    def listen(event: Any) -> None:
        if isinstance(event, AnswerAudited | AuditFailed):
            events.append(event)
            checked.set()

    llm.cluster.events.subscribe(listen)
    plain_face.ask(llm, ASKED)
    assert text_of(plain_face.ask(llm, AGAIN)) == "yes"
    assert checked.wait(5)
    assert [event.agreed for event in events] == [agrees]
    assert llm.cluster.stats()["calls"] == 2, "a check is no call of anybody's"
    assert cluster_of(plain_face.ask(llm, AGAIN))["cache"] == ("semantic" if agrees else "miss")
    stats = llm.cluster.semantic_cache.stats()
    assert (stats.audits >= 1, stats.refuted) == (True, 0 if agrees else 1)


def test_a_check_that_fails_is_an_event_and_changes_nothing(runner: asyncio.Runner) -> None:
    llm = meant(ScriptedModel("yes", RuntimeError("away"), "later"), audit=1.0)
    failed = threading.Event()
    llm.cluster.events.subscribe(lambda event: failed.set() if isinstance(event, AuditFailed) else None)
    llm.invoke(ASKED)
    llm.invoke(AGAIN)
    assert failed.wait(5)
    assert len(llm.cluster.semantic_cache) == 1


def test_without_a_retry_budget_to_spare_nothing_is_checked(runner: asyncio.Runner) -> None:
    model = ScriptedModel("yes", "no")
    llm = meant(model, audit=1.0)
    budget = llm.cluster._budget(llm.cluster.policy.retry_budget)
    assert budget is not None
    budget.floor = 0.0
    llm.invoke(ASKED)
    llm.invoke(AGAIN)
    llm.cluster.close()
    assert model.calls == 1


def test_it_is_kept_across_a_restart_of_the_cluster(runner: asyncio.Runner, tmp_path: Any) -> None:
    path = tmp_path / "answers.npz"
    with ClusteredLLM(
        [Endpoint("e", ScriptedModel("one"))], semantic_cache=SemanticCache(WordEmbeddings(), path=path)
    ).cluster as cluster:
        ClusteredLLM(cluster=cluster).invoke(ASKED)
    llm = ClusteredLLM(
        [Endpoint("e", ScriptedModel("two"))], semantic_cache=SemanticCache(WordEmbeddings(), path=path)
    )
    assert llm.invoke(AGAIN).content == "one"


def test_what_is_no_semantic_cache_is_told() -> None:
    with pytest.raises(ConfigError, match="MemoryCache is no SemanticCache"):
        ClusteredLLM([Endpoint("e", ScriptedModel("x"))], semantic_cache=MemoryCache())


def test_where_chance_is_asked_for_nothing_is_compared_even_with_the_cache(face: Face) -> None:
    llm = meant(ScriptedModel("first", "second"))
    wish = told(cache=True)
    assert text_of(face.ask(llm, ASKED, wish, temperature=0.7)) == "first"
    assert text_of(face.ask(llm, AGAIN, wish, temperature=0.7)) == "second"
    assert len(llm.cluster.semantic_cache) == 0


def test_sharing_begins_with_the_cluster_and_its_failures_are_events(runner: asyncio.Runner) -> None:
    journals = MemoryJournals()
    journal = journals.open("words")

    def share() -> ClusteredLLM:
        cache = SemanticCache(WordEmbeddings(), share=journals, seed=1)
        return ClusteredLLM([Endpoint("e", ScriptedModel("one"))], semantic_cache=cache)

    with share().cluster as cluster:
        ClusteredLLM(cluster=cluster).invoke(ASKED)
    late = share()
    with late.cluster:
        assert late.cluster.semantic_cache.wait_ready(20.0)  # type: ignore[union-attr]
        assert cluster_of(late.invoke(AGAIN))["cache"] == "semantic"
    other = share()
    failed = threading.Event()
    journal.read = lambda after, count: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    heard = Heard(other)
    other.cluster.events.subscribe(lambda event: failed.set() if isinstance(event, CacheFailed) else None)
    with other.cluster:
        assert failed.wait(20.0)
        assert cluster_of(other.invoke(ASKED))["cache"] == "miss"
    assert ("share by meaning", "ZeroDivisionError") in [
        (e.operation, e.error) for e in heard.of(CacheFailed)
    ]
    assert other.cluster.semantic_cache._shared._reports == []  # type: ignore[union-attr]
