"""A retriever over a pool: one run, one call under the plan, in both colours."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

from langchain_cluster import (
    BreakerPolicy,
    ClusteredLLM,
    ClusteredRetriever,
    ConfigError,
    DeadlineExceeded,
    Endpoint,
    Role,
)
from langchain_cluster.model.events import AttemptEnded, CacheFailed, CallEnded, Event
from langchain_cluster.testing import FakeClock, ScriptedModel, ScriptedRetriever

Ask = Callable[..., list[Document]]


@pytest.fixture(params=["invoke", "ainvoke", "batch", "abatch"])
def ask(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Ask:
    def asked(retriever: Any, query: str, config: Any = None, **arguments: Any) -> list[Document]:
        method = getattr(retriever, request.param)
        given: Any = [query] if "batch" in request.param else query
        found: Any = method(given, config, **arguments)
        if request.param.startswith("a"):
            found = runner.run(found)
        documents: list[Document] = found[0] if "batch" in request.param else found
        return documents

    return asked


class Heard(list[Event]):
    def __init__(self, face: Any) -> None:
        face.cluster.events.subscribe(self.append)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


class Watcher(BaseCallbackHandler):
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.told.append(("start", (query, sorted(kwargs["tags"]), kwargs["metadata"].get("who"))))

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.told.append(("end", [document.page_content for document in documents]))

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append(("error", type(error).__name__))

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.told.append(("chat", kwargs["parent_run_id"] is not None))


def texts(found: list[Document]) -> list[str]:
    return [document.page_content for document in found]


def pair(bad: Any, good: Any, **options: Any) -> ClusteredRetriever:
    """`bad` is asked first for certain."""
    endpoints = [Endpoint("bad", bad), Endpoint("good", good, priority=1)]
    return ClusteredRetriever(endpoints, **{"seed": 1, **options})


def test_who_fails_is_passed_over(ask: Ask) -> None:
    bad, good = ScriptedRetriever(ConnectionError("refused")), ScriptedRetriever(["a", "b"])
    retriever = pair(bad, good, breaker=BreakerPolicy(consecutive_failures=1))
    heard = Heard(retriever)
    for _ in range(2):
        assert texts(ask(retriever, "q")) == ["a", "b"]
    assert (bad.calls, good.calls) == (1, 2)
    assert [event.report.verdict.value for event in heard.of(AttemptEnded)] == ["transient"]
    assert [event.answer.endpoint for event in heard.of(CallEnded)] == ["good", "good"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda query: 5, "the answer is a int, not a list of documents"),
        (lambda query: None, "the answer is a NoneType, not a list of documents"),
        ([Document(page_content="a"), 5], "result 1 is a int, not a Document"),
    ],
)
def test_what_are_no_documents_is_the_endpoints_fault(ask: Ask, answer: Any, reason: str) -> None:
    retriever = pair(ScriptedRetriever(answer), ScriptedRetriever("good"))
    heard = Heard(retriever)
    assert texts(ask(retriever, "q")) == ["good"]
    assert [event.report.reason for event in heard.of(AttemptEnded)] == [f"Malformed: {reason}"]


def test_finding_nothing_is_an_answer(ask: Ask) -> None:
    other = ScriptedRetriever("b")
    retriever = pair(RunnableLambda(lambda query: []), other, cache=True)
    assert ask(retriever, "q") == ask(retriever, "q") == []
    assert other.calls == 0
    assert retriever.cluster.cache.stats().entries == 0, "an index may still be being built"


def test_it_is_one_run_with_its_tags_and_metadata(ask: Ask) -> None:
    watcher = Watcher()
    retriever = ClusteredRetriever(
        [Endpoint("a", ScriptedRetriever("found"))], tags=["mine"], metadata={"who": "me"}
    )
    ask(retriever, "q", {"callbacks": [watcher]})
    assert watcher.told == [("start", ("q", ["mine"], "me")), ("end", ["found"])]


def test_a_failed_call_is_one_failed_run(ask: Ask) -> None:
    watcher = Watcher()
    retriever = pair(ScriptedRetriever(OSError("a")), ScriptedRetriever(OSError("b")), max_retries=1)
    with pytest.raises(Exception, match="attempt 2 on good"):
        ask(retriever, "q", {"callbacks": [watcher]})
    assert [what for what, _ in watcher.told] == ["start", "error"]


class Rewriting(BaseRetriever):
    """Asks a chat model for a better query, as some retrievers do."""

    llm: Any

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        text = self.llm.invoke(query, {"callbacks": run_manager.get_child()}).text
        return [Document(page_content=text)]


def test_what_a_retriever_asks_itself_is_a_child_of_the_one_run(ask: Ask) -> None:
    watcher = Watcher()
    retriever = ClusteredRetriever([Endpoint("a", Rewriting(llm=ScriptedModel("better")))])
    assert texts(ask(retriever, "q", {"callbacks": [watcher]})) == ["better"]
    assert [what for what, _ in watcher.told] == ["start", "chat", "end"]
    assert ("chat", True) in watcher.told


def test_any_runnable_that_finds_documents_will_do(ask: Ask) -> None:
    endpoints = [Endpoint("a", RunnableLambda(lambda query: [Document(page_content=query.upper())]))]
    retriever = ClusteredRetriever(endpoints)
    assert texts(ask(retriever, "q")) == ["Q"]
    assert retriever.cluster.pool.get("a").endpoint.roles == {Role.RETRIEVAL}


def test_arguments_reach_those_that_take_them(ask: Ask) -> None:
    found = ["a", "b", "c", "d"]
    plain = Rewriting(llm=ScriptedModel("x"))
    retriever = ClusteredRetriever([Endpoint("a", ScriptedRetriever(found))], arguments={"k": 3})
    assert texts(ask(retriever, "q")) == ["a", "b", "c"]
    assert texts(ask(retriever, "q", k=1)) == ["a"]
    bound = ClusteredRetriever([Endpoint("a", ScriptedRetriever(found).bind(k=2))])
    assert texts(ask(bound, "q")) == ["a", "b"]
    assert texts(ask(ClusteredRetriever([Endpoint("a", plain)]), "q", k=2)) == ["x"]


def test_a_call_is_told_the_same_as_a_chat(ask: Ask) -> None:
    retriever = ClusteredRetriever(
        [
            Endpoint("a", ScriptedRetriever("a"), tags=frozenset({"law"})),
            Endpoint("b", ScriptedRetriever("b")),
        ]
    )
    heard = Heard(retriever)
    wishes = {"tags": ["law"], "tenant": "ann", "key": "k", "priority": "critical"}
    config = {"configurable": {"cluster": wishes}, "metadata": {"lc_agent_name": "researcher"}}
    assert texts(ask(retriever, "q", config)) == ["a"]
    request = heard.of(CallEnded)[0].request
    assert (request.tenant, request.key, request.priority, request.agent) == (
        "ann",
        "k",
        "critical",
        "researcher",
    )
    with pytest.raises(ConfigError, match="unknown key 'tagz'"):
        ask(retriever, "q", {"configurable": {"cluster": {"tagz": []}}})


def test_a_view_has_a_name_and_a_policy(ask: Ask) -> None:
    retriever = pair(ScriptedRetriever(OSError("no")), ScriptedRetriever("good"))
    view = retriever.for_agent("hasty", attempts=1)
    with pytest.raises(OSError, match="no"):
        ask(view, "q")
    assert (view.agent, retriever.agent) == ("hasty", None)
    assert view.cluster is retriever.cluster


def test_the_deadline_of_a_call_holds(ask: Ask) -> None:
    clock = FakeClock()

    def slowly(query: str) -> Any:
        clock.advance(3.0)
        return OSError("slow")

    retriever = pair(ScriptedRetriever(slowly), ScriptedRetriever("x"), clock=clock, timeout=2.0)
    with pytest.raises(DeadlineExceeded):
        ask(retriever, "q")


def test_answers_are_cached_and_are_the_readers_own(ask: Ask) -> None:
    document = Document(page_content="a", metadata={"page": 1, "score": 0.5}, id="d1")
    model = ScriptedRetriever([document])
    retriever = ClusteredRetriever([Endpoint("a", model), Endpoint("b", model)], cache=True)
    first = ask(retriever, "q")
    first[0].metadata["page"] = 2
    document.metadata["page"] = 1
    second, third = ask(retriever, "q"), ask(retriever, "q")
    assert second == third == [Document(page_content="a", metadata={"page": 1, "score": 0.5}, id="d1")]
    assert second[0] is not third[0]
    assert model.calls == 1
    ask(retriever, "q", k=1)
    ask(retriever, "q", {"configurable": {"cluster": {"tenant": "ann"}}})
    ask(retriever, "q", {"configurable": {"cluster": {"cache": False}}})
    assert model.calls == 4


@pytest.mark.parametrize("metadata", [{"at": {1, 2}}, {"t": (1,)}, {"x": float("nan")}, {"d": {1: 2}}])
def test_what_json_does_not_give_back_is_not_cached(ask: Ask, metadata: Any) -> None:
    model = ScriptedRetriever([Document(page_content="a", metadata=metadata)])
    retriever = ClusteredRetriever([Endpoint("a", model)], cache=True)
    heard = Heard(retriever)
    ask(retriever, "q")
    ask(retriever, "q")
    assert model.calls == 2
    assert [(event.operation, event.error) for event in heard.of(CacheFailed)] == [("store", "TypeError")] * 2


@pytest.mark.parametrize("raw", [b"", b"D\x02[]", b"D\x01[", b"D\x01[1]", b"D\x01[[1,2,3]]", b"D\x01{}x"])
def test_corrupt_bytes_are_a_miss_and_an_event(ask: Ask, raw: bytes) -> None:
    model = ScriptedRetriever("a")
    retriever = ClusteredRetriever([Endpoint("a", model)], cache=True)
    heard = Heard(retriever)
    ask(retriever, "q")
    cluster = retriever.cluster
    (key,) = cluster.keys.all(heard.of(CallEnded)[0].request)
    cluster.cache.set(key, raw)
    assert texts(ask(retriever, "q")) == ["a"]
    assert model.calls == 2
    assert [event.operation for event in heard.of(CacheFailed)] == ["lookup"]


def test_one_cluster_serves_chats_and_retrieval(ask: Ask) -> None:
    llm = ClusteredLLM([Endpoint("c", ScriptedModel("hello")), Endpoint("r", ScriptedRetriever("found"))])
    retriever = ClusteredRetriever(cluster=llm.cluster)
    assert texts(ask(retriever, "q")) == ["found"]
    assert llm.invoke("q").text == "hello"
    with pytest.raises(ConfigError, match="no endpoint has the role retrieval"):
        ClusteredRetriever(cluster=ClusteredLLM([Endpoint("c", ScriptedModel())]).cluster)


def test_wrong_use_is_told() -> None:
    with pytest.raises(ConfigError, match="is a ScriptedModel, not a LangChain retriever"):
        ClusteredRetriever([Endpoint("c", ScriptedModel(), roles=frozenset({Role.RETRIEVAL}))])
    with pytest.raises(ConfigError, match="unknown argument 'balancr'"):
        ClusteredRetriever([Endpoint("r", ScriptedRetriever())], balancr="weighted")
    with pytest.raises(ConfigError, match="agent"):
        ClusteredRetriever([Endpoint("r", ScriptedRetriever())], agent=5)
    retriever = ClusteredRetriever([Endpoint("r", ScriptedRetriever())], balancer="weighted", agent="x")
    assert repr(retriever) == str(retriever) == "ClusteredRetriever([r], balancer='weighted', agent='x')"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(retriever)


def test_it_stands_in_chains_and_events(runner: asyncio.Runner) -> None:
    retriever = ClusteredRetriever([Endpoint("r", ScriptedRetriever(["a", "b"]))])
    chain = retriever | (lambda found: ", ".join(texts(found)))
    assert chain.invoke("q") == "a, b"

    async def names() -> list[str]:
        return [event["event"] async for event in retriever.astream_events("q", version="v2")]

    assert runner.run(names()) == ["on_retriever_start", "on_retriever_end"]
