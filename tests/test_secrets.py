"""Canaries in every place a secret can be given, and a search of every place one could show."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from langchain_openai import ChatOpenAI
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import AttemptEnded, CallEnded, Event
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.testing import SimulatedServer, faults
from tests.faces.faces import NAMES, Face

KEYS = ("sk-CANARY-KEY-1", "sk-CANARY-KEY-2", "CANARY-PASSWORD", "CANARY-HEADER")
PROMPT = "CANARY-PROMPT"
ANSWER = "CANARY-ANSWER"


class Spans(SpanProcessor):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.texts.append(span.to_json())


class Tracer(BaseCallbackHandler):
    """What LangChain tells a tracer of a run: it is sent to whoever collects traces."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.texts.append(repr((serialized, kwargs)))


class Keys(MemoryCache):
    """Remembers the keys it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def get(self, key: str) -> Any:
        self.seen.add(key)
        return super().get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.seen.add(key)
        super().set(key, value, ttl)

    async def aget(self, key: str) -> Any:
        return self.get(key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.set(key, value, ttl)


class World:
    """A cluster full of canaries, and everything that may be seen of it."""

    def __init__(self, server: SimulatedServer) -> None:
        self.server = server
        self.spans, self.tracer, self.cache = Spans(), Tracer(), Keys()
        provider = TracerProvider()
        provider.add_span_processor(self.spans)
        with_user = server.openai_url("first").replace("http://", f"http://user:{KEYS[2]}@")
        headers = {"x-team": KEYS[3]}
        first = ChatOpenAI(base_url=with_user, model="m", api_key=KEYS[0], default_headers=headers)
        second = ChatAnthropic(
            base_url=server.anthropic_url("second"),
            model="m",
            api_key=KEYS[1],
            max_tokens=100,
            default_headers=headers,
        )
        self.llm = ClusteredLLM(
            [
                Endpoint("first", first, url=with_user),
                Endpoint("second", second.bind(extra_headers=headers), priority=1),
            ],
            cache=self.cache,
            tracing=OtelTracing(provider),
            policy=Policy(attempts=2, timeout=20.0, wait=lambda _: 0.0),
        )
        self.events: list[Event] = []
        self.errors: list[BaseException] = []
        self.llm.cluster.events.subscribe(self.events.append)

    def ask(self, face: Face) -> Any:
        config = {"callbacks": [self.tracer]} if face.watched else {}
        config["configurable"] = {"cluster": {"tenant": "acme"}}
        try:
            return face.ask(self.llm, PROMPT, config)
        except Exception as error:
            self.errors.append(error)

    def shown(self) -> Iterator[tuple[str, str]]:
        """(where, text) of everything about the cluster, its events and its own errors."""
        llm, cluster = self.llm, self.llm.cluster
        pool, snapshot = cluster.pool, cluster.pool.snapshot
        things = [
            llm, llm.for_agent("planner"), llm.bind(stop=["x"]), llm.bind_tools([]), llm.with_config({}),
            cluster, cluster.stats(), cluster.policy, cluster.caller, cluster.tracing, cluster.blocking,
            cluster.tasks, pool, snapshot, *snapshot.members, *(m.endpoint for m in snapshot.members),
            *(m.breaker for m in snapshot.members), llm._identifying_params, llm._serialized,
            llm.model_dump(), dumpd(llm), dumps(llm), llm._get_ls_params(), llm._get_invocation_params(),
            llm._get_llm_string(), self.cache, self.cache.stats(), pool.list(),
        ]  # fmt: skip
        with pool.acquire() as lease:
            things.append(lease)
        for thing in things:
            yield f"repr of {type(thing).__name__}", f"{thing!r} {thing}"
        for event in self.events:
            yield f"event {type(event).__name__}", repr(event)
        for span in self.spans.texts:
            yield "span", span
        for key in self.cache.seen:
            yield "cache key", key
        for text in self.tracer.texts:
            yield "LangChain's tracer", text


def told_by(error: BaseException) -> str:
    """An error as a traceback or a log would show it, its causes and attempts included."""
    text = f"{error!r} {error} {getattr(error, '__notes__', '')}"
    for attempt in getattr(error, "attempts", ()):
        text += f" {attempt!r} {attempt}"
    for inner in (error.__cause__, error.__context__):
        if inner is not None and inner is not error:
            text += told_by(inner)
    return text


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES, ids=lambda name: name.replace(" ", "-"))
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(record_secrets=True) as server:
        server.behave(reply=f"{ANSWER} for you")
        yield server


def test_no_key_shows_anywhere_whatever_happens(
    face: Face, server: SimulatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world = World(server)
    assert ANSWER in world.ask(face).text
    assert ANSWER in world.ask(face).text, "from the cache"
    happenings = [faults.Status(401), faults.Status(500), faults.Refuse(), faults.Html(), faults.HalfJson()]
    for fault in happenings:
        server.heal()
        server.fail(fault)
        for id in ("first", "second"):
            world.llm.cluster.pool.reset(id)
        world.cache.clear()
        world.ask(face)
    assert len(world.errors) == len(happenings)
    assert len([e for e in world.events if isinstance(e, AttemptEnded)]) == 2 * len(happenings)

    # The canaries are real: they were sent where they belong.
    sent = repr([seen.headers for seen in server.seen()])
    assert KEYS[0] in sent or "Basic" in sent
    assert KEYS[1] in sent
    assert KEYS[3] in sent
    shown = list(world.shown())
    shown += [(f"error {type(error).__name__}", told_by(error)) for error in world.errors]
    ours = [r for r in caplog.records if r.name.startswith("langchain_cluster")]
    shown += [("log", f"{record.getMessage()} {record.__dict__}") for record in ours]
    for where, text in shown:
        for key in KEYS:
            assert key not in text, where


def test_neither_prompt_nor_answer_shows_in_what_is_ours(
    face: Face, server: SimulatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="langchain_cluster")
    world = World(server)
    world.ask(face)
    world.ask(face)
    for fault in (faults.Status(503), faults.Refuse(), faults.CutAfter(1)):
        server.heal()
        server.fail(fault)
        for id in ("first", "second"):
            world.llm.cluster.pool.reset(id)
        world.cache.clear()
        world.ask(face)
    assert len(world.errors) == 3
    assert len([e for e in world.events if isinstance(e, CallEnded)]) == 5
    shown = list(world.shown())
    shown += [(f"error {type(error).__name__}", f"{error!r} {error}") for error in world.errors]
    shown += [("log", record.getMessage()) for record in caplog.records if "langchain_cluster" in record.name]
    for where, text in shown:
        assert PROMPT not in text, where
        assert ANSWER not in text, where


def test_a_tenants_name_is_no_part_of_a_cache_key(face: Face, server: SimulatedServer) -> None:
    world = World(server)
    world.ask(face)
    assert world.cache.seen
    assert not any("acme" in key for key in world.cache.seen)


def test_live_connections_and_their_keys_are_not_pickled(server: SimulatedServer) -> None:
    world = World(server)
    world.llm.invoke(PROMPT)
    cluster = world.llm.cluster
    for thing in (world.llm, world.llm.bind(stop=["x"]), world.llm.for_agent("a")):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing)
    for thing in (cluster, cluster.pool, cluster.caller):
        with pytest.raises(TypeError) as refused:
            pickle.dumps(thing)
        assert not any(key in str(refused.value) for key in KEYS)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda model: ClusteredLLM([Endpoint("e", model)], api_kee=KEYS[0]),
        lambda model: ClusteredLLM(Endpoint("e", model, url=f"http://u:{KEYS[2]}@h")),
        lambda model: ClusteredLLM([Endpoint("e", model), model]),
        lambda model: ClusteredLLM([model]),
        lambda model: ClusteredLLM([Endpoint("e", model)] * 2),
        lambda model: ClusteredLLM([Endpoint("e", [model])]),
        lambda model: Endpoint("e", model, url=f"http://u:{KEYS[2]}@h", weight=-1),
        lambda model: ClusteredLLM([Endpoint("e", model)]).cluster.pool.add(model),
        lambda model: ClusteredLLM([Endpoint("e", model)], discovery=model),
        lambda model: ClusteredLLM([Endpoint("e", model)], policy=model),
    ],
    ids=[
        "unknown argument", "no list", "a model beside endpoints", "a bare model", "twins",
        "a list as model", "weight", "add", "discovery", "policy",
    ],
)  # fmt: skip
def test_an_error_about_a_mistake_does_not_quote_a_secret(wrong: Any) -> None:
    headers = {"x-team": KEYS[3]}
    url = f"http://user:{KEYS[2]}@127.0.0.1:1/v1"
    model = ChatOpenAI(base_url=url, model="m", api_key=KEYS[0], default_headers=headers)
    with pytest.raises((ConfigError, AttributeError, TypeError)) as told:
        wrong(model)
    assert isinstance(told.value, ConfigError)
    for key in KEYS:
        assert key not in told_by(told.value)
