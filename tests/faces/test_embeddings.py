"""Embeddings over a pool, in both colours: failed over, checked, in batches, cached text by text."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Callable
from threading import Barrier
from typing import Any

import numpy
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
from langchain_openai import OpenAIEmbeddings

from langchain_cluster import (
    BreakerPolicy,
    ClusteredEmbeddings,
    ClusteredLLM,
    ClusterExhausted,
    ConfigError,
    DeadlineExceeded,
    Endpoint,
    NoEndpointAvailable,
    Policy,
    Price,
    Role,
    StaticDiscovery,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.events import AttemptEnded, CacheFailed, CallEnded, Event
from langchain_cluster.testing import (
    FakeClock,
    ScriptedEmbeddings,
    ScriptedModel,
    ScriptedRetriever,
    SimulatedServer,
    faults,
)

TEXTS = ["the sky is blue", "grass is green", "snow is white"]


class Colour:
    """Asks embeddings, blocking or awaited on one loop."""

    def __init__(self, awaited: bool, runner: asyncio.Runner) -> None:
        self.awaited, self._runner = awaited, runner

    def documents(self, embeddings: Any, texts: list[str]) -> Any:
        if self.awaited:
            return self._runner.run(embeddings.aembed_documents(texts))
        return embeddings.embed_documents(texts)

    def query(self, embeddings: Any, text: str) -> Any:
        if self.awaited:
            return self._runner.run(embeddings.aembed_query(text))
        return embeddings.embed_query(text)


@pytest.fixture(params=["blocking", "awaited"])
def colour(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Colour:
    return Colour(request.param == "awaited", runner)


class Heard(list[Event]):
    def __init__(self, face: Any) -> None:
        face.cluster.events.subscribe(self.append)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]

    @property
    def reasons(self) -> list[tuple[str, str, str]]:
        return [(e.report.endpoint, e.report.verdict.value, e.report.reason) for e in self.of(AttemptEnded)]


def openai_of(**fields: Any) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(**fields)


def pair(bad: Any, good: Any, **options: Any) -> ClusteredEmbeddings:
    """`bad` is asked first for certain."""
    return ClusteredEmbeddings(
        [Endpoint("bad", bad), Endpoint("good", good, priority=1)], **{"seed": 1, **options}
    )


def test_a_pool_of_embeddings_needs_no_roles_and_gives_what_its_models_give(colour: Colour) -> None:
    model = ScriptedEmbeddings()
    pool = ClusteredEmbeddings([Endpoint("a", model), Endpoint("b", ScriptedEmbeddings())])
    assert colour.documents(pool, TEXTS) == model.embed_documents(TEXTS)
    assert colour.query(pool, TEXTS[0]) == model.embed_query(TEXTS[0])
    assert colour.documents(pool, []) == []
    assert [m.endpoint.roles for m in pool.cluster.pool] == [{Role.EMBEDDING}] * 2


def test_who_fails_is_passed_over_and_its_circuit_opens(colour: Colour) -> None:
    bad, good = ScriptedEmbeddings(ConnectionError("refused")), ScriptedEmbeddings()
    pool = pair(bad, good, breaker=BreakerPolicy(consecutive_failures=1))
    heard = Heard(pool)
    for _ in range(2):
        assert len(colour.documents(pool, TEXTS)) == 3
    assert (bad.calls, good.calls) == (1, 2)
    assert heard.reasons == [("bad", "transient", "ConnectionError: refused")]
    ended = heard.of(CallEnded)
    assert [event.answer.endpoint for event in ended] == ["good", "good"]
    assert all(event.answer.value is None for event in ended), "no event holds a vector"


MALFORMED = {
    "too few": ([[1.0, 2.0]], "1 vectors for 3 texts"),
    "too many": ([[1.0, 2.0]] * 4, "4 vectors for 3 texts"),
    "empty": ([[1.0], [], [1.0]], "the vector of text 1 is empty"),
    "NaN": ([[1.0, 2.0], [1.0, math.nan], [1.0, 2.0]], "the vector of text 1 holds a NaN or an infinity"),
    "infinite": ([[1.0, math.inf]] * 3, "the vector of text 0 holds a NaN or an infinity"),
    "opposite infinities": ([[math.inf, -math.inf]] * 3, "the vector of text 0 holds a NaN"),
    "lengths differ": ([[1.0, 2.0], [1.0], [1.0, 2.0]], "vectors of different lengths in one answer: 2 and"),
    "no numbers": ([["x"], ["y"], ["z"]], "the vector of text 0 holds something that is no number"),
    "null": ([[1.0, None]] * 3, "the vector of text 0 holds something that is no number"),
    "no vectors": (["x", "y", "z"], "for text 0 there is a str, not a vector"),
    "nothing": (lambda texts: 5, "the answer is a int, not a list of vectors"),
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_answer_is_the_endpoints_fault(colour: Colour, answer: tuple[Any, str]) -> None:
    given, reason = answer
    good = ScriptedEmbeddings()
    pool = pair(ScriptedEmbeddings(given), good)
    heard = Heard(pool)
    assert colour.documents(pool, TEXTS) == good.embed_documents(TEXTS)
    ((endpoint, verdict, told),) = heard.reasons
    assert (endpoint, verdict) == ("bad", "transient")
    assert told.startswith(f"Malformed: {reason}")


def test_arrays_and_whole_numbers_are_vectors_too(colour: Colour) -> None:
    class Arrays(ScriptedEmbeddings):
        def embed_documents(self, texts: list[str]) -> Any:
            return numpy.array([[1, 2], [3, 4]])

        async def aembed_documents(self, texts: list[str]) -> Any:
            return [numpy.array([1, 2], dtype=numpy.float32), (3, 4)]

    found = colour.documents(ClusteredEmbeddings([Endpoint("a", Arrays())]), ["x", "y"])
    assert found == [[1.0, 2.0], [3.0, 4.0]]
    assert {type(number) for vector in found for number in vector} == {float}


def test_vectors_of_another_length_are_refused_and_their_endpoint_is_left_alone(colour: Colour) -> None:
    changed = ScriptedEmbeddings("ok", lambda texts: [[1.0, 2.0]] * len(texts))
    pool = pair(changed, ScriptedEmbeddings(), policy={"retry_budget": None})
    heard = Heard(pool)
    assert [len(vector) for _ in range(2) for vector in colour.documents(pool, TEXTS)] == [8] * 6
    reason = "its vectors have 2 dimensions, and those of this model 8"
    assert heard.reasons == [("bad", "config", reason)]
    assert pool.cluster.pool.get("bad").breaker_state is BreakerState.OPEN  # type: ignore[union-attr]


def test_who_says_how_long_vectors_are_gets_no_others(colour: Colour) -> None:
    good = ScriptedEmbeddings()
    pool = pair(ScriptedEmbeddings(lambda texts: [[1.0]] * len(texts)), good, dimensions=8)
    assert colour.query(pool, "hello") == good.embed_query("hello")
    nobody = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())], dimensions=3)
    with pytest.raises(ValueError, match="its vectors have 8 dimensions, and those of this model 3"):
        colour.query(nobody, "hello")


def test_endpoints_of_different_models_are_refused_unless_that_is_said() -> None:
    small, large = ScriptedEmbeddings(model="small"), ScriptedEmbeddings(model="large", size=16)
    endpoints = [Endpoint("a", small, tags=frozenset({"s"})), Endpoint("b", large, tier="big")]
    with pytest.raises(ConfigError, match=r"different models .*small.*large.*identity=.*mixed_models=True"):
        ClusteredEmbeddings(endpoints)
    assert len(ClusteredEmbeddings(endpoints, tags=["s"]).embed_query("x")) == 8
    assert len(ClusteredEmbeddings(endpoints, tier="big").embed_query("x")) == 16
    mixed = ClusteredEmbeddings(endpoints, mixed_models=True, balancer="round_robin")
    assert sorted(len(mixed.embed_query("x")) for _ in range(2)) == [8, 16]
    with pytest.raises(ConfigError, match="different models"):
        ClusteredEmbeddings(cluster=mixed.cluster)
    same = [Endpoint(id, model, identity="same") for id, model in (("a", small), ("b", large))]
    assert ClusteredEmbeddings(same).embed_query("x")


def test_an_endpoint_of_another_model_that_joins_later_gives_no_vectors(colour: Colour) -> None:
    stranger = ScriptedEmbeddings(model="another")
    pool = ClusteredEmbeddings([Endpoint("old", ScriptedEmbeddings(), priority=1)])
    heard = Heard(pool)
    colour.query(pool, "first")
    pool.cluster.pool.add(Endpoint("new", stranger))
    colour.query(pool, "second")
    assert stranger.calls == 0
    assert heard.reasons == [
        ("new", "config", "it is another model than the one whose vectors are asked for")
    ]


# -- batches --------------------------------------------------------------------------------------------


def test_a_long_list_is_spread_over_the_pool_in_order(colour: Colour) -> None:
    models = [ScriptedEmbeddings() for _ in range(3)]
    pool = ClusteredEmbeddings(
        [Endpoint(f"e{n}", model) for n, model in enumerate(models)],
        batch_size=4,
        balancer="round_robin",
    )
    heard = Heard(pool)
    texts = [f"text {number}" for number in range(22)]
    assert colour.documents(pool, texts) == ScriptedEmbeddings().embed_documents(texts)
    assert sorted(model.calls for model in models) == [2, 2, 2]
    sizes = sorted(len(asked) for model in models for asked in model.asked)
    assert sizes == [2, 4, 4, 4, 4, 4]
    assert len(heard.of(CallEnded)) == 6


def test_as_many_calls_are_made_at_once_as_is_said(runner: asyncio.Runner) -> None:
    together = Barrier(3)  # passed by three at once only

    def meet(texts: list[str]) -> Any:
        together.wait(timeout=10.0)
        return [[1.0]] * len(texts)

    pool = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings(meet))], batch_size=1, max_concurrency=3)
    assert len(pool.embed_documents(list("abcdef"))) == 6

    most = now = 0

    class Counting(ScriptedEmbeddings):
        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            return [[1.0]] * len(texts)

    pool = ClusteredEmbeddings([Endpoint("a", Counting())], batch_size=1, max_concurrency=3)
    assert len(runner.run(pool.aembed_documents(list("abcdefghij")))) == 10
    assert most == 3


def test_a_list_is_embedded_whole_or_not_at_all(colour: Colour) -> None:
    def refuse(texts: list[str]) -> Any:
        return ValueError("no such text") if "c" in texts else [[1.0]] * len(texts)

    model = ScriptedEmbeddings(refuse)
    pool = ClusteredEmbeddings(
        [Endpoint("a", model)], batch_size=1, max_concurrency=1, policy=Policy(attempts=1)
    )
    with pytest.raises(ValueError, match="no such text"):
        colour.documents(pool, list("abcdef"))
    assert model.asked == [["a"], ["b"], ["c"]], "and nobody is asked for the rest"
    assert pool.cluster.in_flight == 0


def test_all_calls_of_a_list_share_one_deadline(colour: Colour) -> None:
    clock = FakeClock()

    def slowly(texts: list[str]) -> Any:
        clock.advance(4.0)
        return [[1.0]] * len(texts)

    model = ScriptedEmbeddings(slowly)
    pool = ClusteredEmbeddings(
        [Endpoint("a", model)], batch_size=1, max_concurrency=1, timeout=10.0, clock=clock
    )
    with pytest.raises((DeadlineExceeded, TimeoutError)):
        colour.documents(pool, list("abcdef"))
    assert model.calls <= 3


def test_what_is_no_list_of_texts_or_no_number_is_told(colour: Colour) -> None:
    pool = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())])
    with pytest.raises(TypeError, match="text 1 is a int, not a str"):
        colour.documents(pool, ["a", 1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="texts is a str, not a list of them"):
        colour.documents(pool, "abc")  # type: ignore[arg-type]
    for wrong in ({"batch_size": 0}, {"max_concurrency": 0}, {"dimensions": 1.5}, {"max_concurrency": None}):
        with pytest.raises(ConfigError, match="is not an integer >= 1"):
            ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())], **wrong)


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_texts_that_can_be_read_only_once_are_read_once(colour: Colour, batch_size: int | None) -> None:
    pool = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())], batch_size=batch_size)
    wanted = colour.documents(pool, ["a", "b", "c"])
    assert colour.documents(pool, iter("abc")) == wanted  # type: ignore[arg-type]
    assert colour.documents(pool, iter("")) == []  # type: ignore[arg-type]


# -- the cache ------------------------------------------------------------------------------------------


def test_only_what_is_not_known_is_asked_for(colour: Colour) -> None:
    model = ScriptedEmbeddings()
    pool = ClusteredEmbeddings([Endpoint("a", model)], cache=True)
    heard = Heard(pool)
    first = colour.documents(pool, ["a", "b"])
    again = colour.documents(pool, ["b", "c", "a", "c"])
    assert again[0] == pytest.approx(first[1], rel=1e-6)
    assert again[2] == pytest.approx(first[0], rel=1e-6)
    assert again[1] == again[3] == model.embed_documents(["c"])[0]
    assert again[1] is not again[3], "each vector is the caller's own"
    assert model.asked[:2] == [["a", "b"], ["c"]]
    colour.documents(pool, ["c", "a"])
    assert model.calls == 3, "of which one is this test's own"
    assert [event.answer.source for event in heard.of(CallEnded)] == ["miss", "miss", "memory"]


def test_a_query_is_not_a_document_and_tenants_share_nothing(colour: Colour) -> None:
    model = ScriptedEmbeddings()
    pool = ClusteredEmbeddings([Endpoint("a", model)], cache=True)
    for embeddings in (pool, pool, pool.with_settings(tenant="ann"), pool.with_settings(tenant="ann")):
        colour.query(embeddings, "x")
        colour.documents(embeddings, ["x"])
    assert model.calls == 4


def test_one_models_vectors_are_for_all_endpoints_of_it(colour: Colour) -> None:
    models = [ScriptedEmbeddings(), ScriptedEmbeddings()]
    endpoints = [Endpoint(f"e{n}", model) for n, model in enumerate(models)]
    pool = ClusteredEmbeddings(endpoints, cache=True, balancer="round_robin")
    for _ in range(4):
        colour.query(pool, "x")
    assert sum(model.calls for model in models) == 1


def test_the_cache_can_be_left_alone_or_filled_anew(colour: Colour) -> None:
    model = ScriptedEmbeddings()
    pool = ClusteredEmbeddings([Endpoint("a", model)], cache=True)
    for embeddings, calls in (
        (pool, 1), (pool, 1), (pool.with_settings(cache=False), 2),
        (pool.with_policy(cache="refresh"), 3), (pool, 3),
    ):  # fmt: skip
        colour.documents(embeddings, ["x"])
        assert model.calls == calls


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"nonsense",
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw[:-4] + b"\x00\x00\xc0\x7f",  # a NaN
        lambda raw: b"V\x02" + raw[2:],
        lambda raw: pickle.dumps([1.0]),
    ],
)
def test_corrupt_bytes_are_a_miss_and_an_event(colour: Colour, spoil: Callable[[bytes], bytes]) -> None:
    model, store = ScriptedEmbeddings(), MemoryCache()
    pool = ClusteredEmbeddings([Endpoint("a", model)], cache=store)
    heard = Heard(pool)
    fresh = colour.documents(pool, ["a", "b"])
    key, _ = pool.cluster._texts.keys(heard.of(CallEnded)[0].request)
    store.set(key, spoil(store.get(key) or b""))
    again = colour.documents(pool, ["a", "b"])
    assert [pytest.approx(vector, rel=1e-6) for vector in fresh] == again
    assert model.asked == [["a", "b"], ["a"]]
    assert [(e.operation, e.error) for e in heard.of(CacheFailed)] == [("lookup", "ValueError")]


def test_vectors_from_before_a_model_changed_are_not_mixed_with_those_from_after(colour: Colour) -> None:
    store = MemoryCache()
    old = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings(size=8), identity="m")], cache=store)
    colour.documents(old, ["a"])
    model = ScriptedEmbeddings(size=4)
    new = ClusteredEmbeddings([Endpoint("a", model, identity="m")], cache=store)
    heard = Heard(new)
    assert [len(vector) for vector in colour.documents(new, ["a", "b"])] == [4, 4]
    assert len(heard.of(CacheFailed)) == 1
    assert [len(vector) for vector in colour.documents(new, ["a", "b"])] == [4, 4]


def test_a_broken_cache_is_a_miss(colour: Colour) -> None:
    class Broken(MemoryCache):
        def mget(self, keys: Any) -> Any:
            raise OSError("gone")

        async def amget(self, keys: Any) -> Any:
            raise OSError("gone")

        def mset(self, items: Any, ttl: float | None = None) -> None:
            raise OSError("gone")

        async def amset(self, items: Any, ttl: float | None = None) -> None:
            raise OSError("gone")

    pool = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())], cache=Broken())
    heard = Heard(pool)
    assert len(colour.documents(pool, TEXTS)) == 3
    assert [(e.operation, e.error) for e in heard.of(CacheFailed)] == [
        ("lookup", "OSError"),
        ("store", "OSError"),
    ]


async def test_identical_texts_in_flight_are_asked_for_once() -> None:
    model = ScriptedEmbeddings(delay=0.05)
    pool = ClusteredEmbeddings([Endpoint("a", model)], cache=True)
    answers = await asyncio.gather(*(pool.aembed_query("x") for _ in range(20)))
    assert model.calls == 1
    assert len({id(answer) for answer in answers}) == 20


# -- views, shared clusters, config -----------------------------------------------------------------------


def test_a_cluster_may_serve_chats_and_embeddings(colour: Colour) -> None:
    chat, vectors = ScriptedModel("hello"), ScriptedEmbeddings()
    llm = ClusteredLLM([Endpoint("chat", chat), Endpoint("vectors", vectors)], cache=True)
    pool = ClusteredEmbeddings(cluster=llm.cluster)
    assert pool.cluster is llm.cluster
    for _ in range(3):
        assert llm.invoke("x").text == "hello"
        assert len(colour.query(pool, "x")) == 8
    assert (chat.calls, vectors.calls) == (1, 1)
    llm.cluster.pool.drain("vectors")
    with pytest.raises(NoEndpointAvailable) as failure:
        colour.query(pool, "y")
    assert failure.value.why == {"chat": "has no role embedding", "vectors": "draining"}


def test_a_shared_cluster_keeps_what_is_its_own() -> None:
    llm = ClusteredLLM([Endpoint("chat", ScriptedModel())])
    with pytest.raises(ConfigError, match="no endpoint has the role embedding"):
        ClusteredEmbeddings(cluster=llm.cluster)
    with pytest.raises(ConfigError, match="no endpoint has the role embedding"):
        ClusteredEmbeddings([Endpoint("chat", ScriptedModel())])
    for own in (
        {"cache": True},
        {"balancer": "weighted"},
        {"endpoints": [Endpoint("e", ScriptedEmbeddings())]},
    ):
        with pytest.raises(ConfigError, match="is the cluster's"):
            ClusteredEmbeddings(cluster=llm.cluster, **own)
    with pytest.raises(ConfigError, match="not a Cluster"):
        ClusteredEmbeddings(cluster=llm)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'balancer'"):
        ClusteredEmbeddings([Endpoint("e", ScriptedEmbeddings())], balancr="weighted")
    with pytest.raises(ConfigError, match="is a int, not LangChain Embeddings"):
        ClusteredEmbeddings([Endpoint("e", 5)])


def test_a_view_has_a_name_and_a_policy_and_shares_the_pool(colour: Colour) -> None:
    model = ScriptedEmbeddings(ConnectionError("no"), ConnectionError("no"), "ok")
    endpoints = [Endpoint("a", model), Endpoint("b", model)]
    pool = ClusteredEmbeddings(endpoints, agents={"indexer": {"attempts": 1}})
    heard = Heard(pool)
    with pytest.raises(ConnectionError):
        colour.query(pool.for_agent("indexer"), "x")
    with pytest.raises(ConnectionError):
        colour.query(pool.for_agent("other", attempts=1), "x")
    colour.query(pool.with_policy(attempts=1).with_settings(key="k", priority="critical"), "x")
    ended = heard.of(CallEnded)
    assert [(e.request.agent, e.request.key, e.request.priority) for e in ended] == [
        ("indexer", None, "normal"), ("other", None, "normal"), (None, "k", "critical")
    ]  # fmt: skip
    assert pool.agent is None
    with pytest.raises(ConfigError, match="unknown key 'tenent'"):
        pool.with_settings(tenent="ann")


def test_what_a_run_was_told_counts_for_the_embeddings_in_it(colour: Colour) -> None:
    pool = ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())])
    heard = Heard(pool)
    chain: Any = RunnableLambda(lambda text: pool.embed_query(text))
    chain.invoke("x", {"configurable": {"cluster": {"tenant": "ann"}, "thread_id": "7"}})
    mine: Any = RunnableLambda(lambda text: pool.with_settings(tenant="bob").embed_query(text))
    mine.invoke("x", {"configurable": {"cluster": {"tenant": "ann", "key": "k"}}})
    told = [(e.request.tenant, e.request.key) for e in heard.of(CallEnded)]
    assert told == [("ann", "7"), ("bob", "k")], "and what a view says comes before it"


def test_embeddings_come_from_a_file_and_go_through_a_pickle(colour: Colour) -> None:
    config = {
        "endpoints": [
            {"id": "chat", "model": "scripted:chat", "roles": ["llm"]},
            {"id": "vectors", "model": "scripted:small", "params": {"size": 5}},
        ],
        "cache": "memory",
    }
    pool = ClusteredEmbeddings.from_config(config, batch_size=2).for_agent("indexer")
    again = pickle.loads(pickle.dumps(pool))
    for embeddings in (pool, again):
        assert [len(vector) for vector in colour.documents(embeddings, TEXTS)] == [5] * 3
        assert (embeddings.agent, embeddings.batch_size) == ("indexer", 2)
    with pytest.raises(TypeError, match="from_config"):
        pickle.dumps(ClusteredEmbeddings([Endpoint("a", ScriptedEmbeddings())]))


def test_the_openai_embeddings_of_a_file_send_texts_to_a_server_of_ones_own(
    colour: Colour, server: SimulatedServer
) -> None:
    url = server.openai_url("e1")
    pool = ClusteredEmbeddings.from_config({"endpoints": [{"id": "e1", "model": "openai:m", "url": url}]})
    assert len(colour.query(pool, "hello")) > 0
    assert server.count("e1") == 1


def test_its_repr_shows_names_only() -> None:
    model = openai_of(model="m", api_key="sk-very-secret", base_url="http://127.0.0.1:1/v1")
    pool = ClusteredEmbeddings([Endpoint("a", model), Endpoint("b", model)], balancer="weighted")
    assert repr(pool.for_agent("x")) == "ClusteredEmbeddings([a, b], balancer='weighted', agent='x')"
    assert "secret" not in repr(pool.cluster) + repr(vars(pool))


# -- a real client against a faulty server ------------------------------------------------------------------


@pytest.fixture(scope="session")
def openai_embeddings(shared_server: SimulatedServer) -> Callable[[str], OpenAIEmbeddings]:
    made: dict[str, OpenAIEmbeddings] = {}

    def model(endpoint: str) -> OpenAIEmbeddings:
        if endpoint not in made:
            made[endpoint] = openai_of(
                base_url=shared_server.openai_url(endpoint),
                model="m",
                api_key="-",
                check_embedding_ctx_length=False,
            )
        return made[endpoint]

    return model


FAULTS = [
    (faults.Status(500), "transient"),
    (faults.Status(503), "transient"),
    (faults.RateLimited(2), "throttled"),
    (faults.InsufficientQuota(), "config"),
    (faults.Status(401), "config"),
    (faults.Status(404), "config"),
    (faults.Refuse(), "transient"),
    (faults.Html(), "transient"),
    (faults.EmptyBody(), "transient"),
    (faults.HalfJson(), "transient"),
    (faults.ErrorBody(), "transient"),
    (faults.Hang(), "transient"),
]


@pytest.mark.parametrize(("fault", "verdict"), FAULTS, ids=lambda value: type(value).__name__)
def test_a_fault_of_a_server_is_passed_over(
    fault: Any, verdict: str, colour: Colour, server: SimulatedServer, openai_embeddings: Any
) -> None:
    server.fail(fault, endpoint="bad")
    pool = pair(
        openai_embeddings("bad"), openai_embeddings("good"), policy={"timeout": 20.0, "attempt_timeout": 0.6}
    )
    heard = Heard(pool)
    assert len(colour.documents(pool, TEXTS)) == 3
    assert server.count("bad") == 1, "the client makes no tries of its own"
    assert [(endpoint, told) for endpoint, told, _ in heard.reasons] == [("bad", verdict)]


def test_a_bad_request_is_the_callers_and_asked_once(
    colour: Colour, server: SimulatedServer, openai_embeddings: Any
) -> None:
    server.fail(faults.Status(400), endpoint="bad")
    pool = pair(openai_embeddings("bad"), openai_embeddings("good"))
    with pytest.raises(Exception, match="400") as failure:
        colour.documents(pool, TEXTS)
    assert failure.value.__notes__[0].startswith("attempt 1 on bad: 400")
    assert server.count("good") == 0


def test_everybody_failing_is_said_with_every_attempt(
    colour: Colour, server: SimulatedServer, openai_embeddings: Any
) -> None:
    server.fail(faults.Status(500))
    pool = pair(openai_embeddings("bad"), openai_embeddings("good"), policy={"attempts": 2})
    with pytest.raises(ClusterExhausted) as failure:
        colour.query(pool, "x")
    assert [report.endpoint for report in failure.value.attempts] == ["bad", "good"]


def test_tokens_are_counted_and_paid_for(
    colour: Colour, server: SimulatedServer, openai_embeddings: Any
) -> None:
    endpoint = Endpoint("e", openai_embeddings("e"), price=Price(input=2.0))
    pool = ClusteredEmbeddings([endpoint], batch_size=2)
    heard = Heard(pool)
    colour.documents(pool, ["one two", "three", "four five six"])
    answers = [event.answer for event in heard.of(CallEnded)]
    assert sorted(answer.usage.input_tokens for answer in answers) == [3, 3]
    assert [answer.cost for answer in answers] == [3 * 2.0 / 1e6] * 2


def test_a_model_without_an_async_method_of_its_own_is_awaited_on_a_thread(runner: asyncio.Runner) -> None:
    pool = ClusteredEmbeddings([Endpoint("a", DeterministicFakeEmbedding(size=4))])
    assert len(runner.run(pool.aembed_query("x"))) == 4


def test_what_a_chat_model_is_known_by_is_its_chats_alone() -> None:
    chat = ScriptedModel("hi", model_name="m", profile={"max_input_tokens": 7})
    llm = ClusteredLLM([Endpoint("chat", chat), Endpoint("vectors", ScriptedEmbeddings(model="v"))])
    assert llm.cluster.model_name == "m"
    assert llm.profile == {"max_input_tokens": 7}


async def test_a_health_check_through_the_model_asks_each_as_what_it_is() -> None:
    from langchain_cluster.health import ModelCheck

    vectors, store = ScriptedEmbeddings(), ScriptedRetriever()
    for number, model in enumerate((vectors, store)):
        check, endpoint = ModelCheck(every=0.001), Endpoint(f"e{number}", model)
        assert check.check(endpoint).ok
        assert (await ModelCheck().acheck(endpoint)).ok
    assert (vectors.asked, store.asked) == ([["ping"]] * 2, ["ping"] * 2)
    bad = Endpoint("bad", ScriptedEmbeddings(ConnectionError("refused")))
    assert ModelCheck().check(bad).reason == "ConnectionError: refused"


def test_embeddings_that_are_discovered_are_of_one_model_too(colour: Colour) -> None:
    model = ScriptedEmbeddings()
    found = StaticDiscovery([Endpoint("a", model)])
    pool = ClusteredEmbeddings(discovery=found, cache=True)
    for _ in range(2):
        assert len(colour.query(pool, "x")) == len(colour.documents(pool, ["x"])[0]) == 8
    assert model.calls == 2, "and so they can be cached from the first on"
    pool.cluster.close()


def test_a_chat_model_over_embeddings_alone_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="no endpoint has the role llm"):
        ClusteredLLM([Endpoint("a", ScriptedEmbeddings())])
