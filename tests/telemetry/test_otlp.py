"""What a collector gets for a scripted story, over the wire: exactly this tree, and nothing twice."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import Telemetry, setup
from langchain_cluster.telemetry.wiring import current
from langchain_cluster.testing import ScriptedModel
from tests.faces.faces import NAMES, Face
from tests.telemetry import receiver
from tests.telemetry.receiver import Received, plain

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
INTERNAL, CLIENT = 1, 3
UNSET, ERROR = 0, 2
USED = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES)
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


@pytest.fixture(params=["http", "grpc"])
def collector(request: pytest.FixtureRequest) -> Iterator[Received]:
    with getattr(receiver, request.param)() as received:
        yield received


def tree(received: Received) -> list[tuple[Any, ...]]:
    """(depth, name, kind, status, verdict or source, events) of every span; ids and times hold together."""
    spans = received.spans
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "none comes twice"

    def depth(span: Any) -> int:
        if not span.parent_span_id:
            return 0
        over = by_id[span.parent_span_id]
        assert over.trace_id == span.trace_id
        assert over.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= over.end_time_unix_nano
        return 1 + depth(over)

    found = []
    for span in spans:
        assert span.end_time_unix_nano >= span.start_time_unix_nano > 0, "none is left open"
        facts = plain(span.attributes)
        told = facts.get("langchain_cluster.verdict", facts.get("langchain_cluster.cache"))
        happened = [event.name.removeprefix("langchain_cluster.event.") for event in span.events]
        found.append((depth(span), span.name, span.kind, span.status.code, told, happened))
    return found


def models(telemetry: Telemetry, **options: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [
            Endpoint("bad", ScriptedModel(ConnectionError("down"))),
            Endpoint("good", ScriptedModel(AIMessage("one two", usage_metadata=USED)), priority=1),
        ],
        telemetry=telemetry,
        **options,
    )


def test_a_failure_a_success_and_a_hit(face: Face, collector: Received) -> None:
    telemetry = setup(service_name="story", otlp=collector.url, default=False)
    llm = models(telemetry, cache=MemoryCache())
    face.ask(llm, "hello", {"metadata": {"lc_agent_name": "planner"}})
    face.ask(llm, "hello")
    assert telemetry.shutdown()
    first_token = ["first_token"] if face.streams else []
    assert tree(collector) == [
        (0, "langchain_cluster chat", INTERNAL, UNSET, "miss", ["failover"]),
        (1, "langchain_cluster cache lookup", INTERNAL, UNSET, "miss", []),
        (1, "chat scripted", CLIENT, ERROR, "transient", []),
        (1, "chat scripted", CLIENT, UNSET, "ok", first_token),
        (0, "langchain_cluster chat", INTERNAL, UNSET, "memory", []),
        (1, "langchain_cluster cache lookup", INTERNAL, UNSET, "memory", []),
    ]
    call, _, _, answered, hit, _ = collector.spans
    (link,) = hit.links
    assert (link.trace_id, link.span_id) == (answered.trace_id, answered.span_id), "what filled the cache"
    assert collector.services == {"story"}
    (failover,) = call.events
    assert plain(failover.attributes) == {
        "langchain_cluster.from": "bad",
        "langchain_cluster.verdict": "transient",
        "langchain_cluster.endpoint": "good",
    }
    facts = plain(answered.attributes)
    facts.pop("langchain_cluster.first_token_seconds", None)
    assert facts == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "cluster",
        "gen_ai.request.model": "scripted",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 5,
        "langchain_cluster.attempt": 2,
        "langchain_cluster.endpoint": "good",
        "langchain_cluster.tier": "default",
        "langchain_cluster.verdict": "ok",
    }
    assert plain(call.attributes)["langchain_cluster.agent"] == "planner"
    assert {"gen_ai.client.operation.duration", "langchain_cluster.requests"} <= collector.metric_names


async def test_a_call_that_is_cancelled_and_a_stream_that_is_left(collector: Received) -> None:
    telemetry = setup(otlp=collector.url, default=False)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three", delay=5.0))], telemetry=telemetry)
    task = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))], telemetry=telemetry)
    stream: Any = llm.astream("hello")
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(telemetry.shutdown)
    call: tuple[Any, ...] = (0, "langchain_cluster chat", INTERNAL, UNSET, "abandoned", [])
    assert tree(collector) == [
        call,
        (1, "chat scripted", CLIENT, UNSET, "abandoned", []),
        call,
        (1, "chat scripted", CLIENT, UNSET, "abandoned", ["first_token"]),
    ]


def test_under_an_agent(collector: Received) -> None:
    agents = pytest.importorskip("langchain.agents")
    telemetry = setup(otlp=collector.url, default=False)
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "1", "type": "tool_call"}

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    model = ScriptedModel(AIMessage("", tool_calls=[call]), "3")
    llm = ClusteredLLM([Endpoint("e", model)], telemetry=telemetry)
    agent = agents.create_agent(llm, tools=[add], name="adder")
    agent.invoke({"messages": [("user", "1 + 2?")]})
    assert telemetry.shutdown()
    assert [line[:2] for line in tree(collector)] == [
        (0, "langchain_cluster chat"),
        (1, "chat scripted"),
    ] * 2
    whose = [plain(span.attributes).get("langchain_cluster.agent") for span in collector.spans[::2]]
    assert whose == ["adder", "adder"]


def test_a_circuit_that_opens_is_told_in_the_call_that_opened_it(face: Face) -> None:
    from langchain_cluster import BreakerPolicy

    with receiver.http() as received:
        telemetry = setup(otlp=received.url, default=False)
        face.ask(models(telemetry, breaker=BreakerPolicy(consecutive_failures=1)), "hello")
        assert telemetry.shutdown()
        (call, *_) = received.spans
        told = [(e.name, plain(e.attributes).get("langchain_cluster.state")) for e in call.events]
    assert told == [("langchain_cluster.event.breaker", "open"), ("langchain_cluster.event.failover", None)]


# -- set up -----------------------------------------------------------------------------------------


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    if request.param == "grpc":
        pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    return str(request.param)


def held_up(face: Face, place: str) -> float:
    """Seconds that twenty calls and the end took with a collector there."""
    telemetry = setup(otlp=place, default=False)
    llm = models(telemetry, policy=Policy(timeout=20.0, retry_budget=None))
    started = time.monotonic()
    for n in range(20):
        assert face.ask(llm, f"{n}").text == "one two"
    telemetry.flush(0.1)
    telemetry.shutdown(0.1)
    return time.monotonic() - started


def test_a_collector_that_never_answers_holds_up_nobody(face: Face, protocol: str) -> None:
    with socket.socket() as silent:  # it takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        took = held_up(face, f"{protocol}://127.0.0.1:{silent.getsockname()[1]}")
    assert took < 15.0, "it would have waited ten seconds an export"


def test_a_collector_that_is_away_holds_up_nobody(face: Face, protocol: str) -> None:
    with socket.socket() as closed:  # nobody listens
        closed.bind(("127.0.0.1", 0))
        assert held_up(face, f"{protocol}://127.0.0.1:{closed.getsockname()[1]}") < 15.0


def test_a_collector_that_is_slow_holds_up_nobody(face: Face) -> None:
    class Slow(receiver._Handler):
        def do_POST(self) -> None:
            over.wait(20.0)
            super().do_POST()

    over = Event()
    with receiver.http(Slow) as received:
        try:
            assert held_up(face, received.url) < 15.0
        finally:
            over.set()


def test_an_exporter_that_fails_at_the_end_is_no_error_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiver.http() as received:
        telemetry = setup(otlp=received.url, default=False)
        ended: list[Any] = []
        assert telemetry.outlets is not None
        for provider in telemetry.outlets._open:

            def fail(*args: Any, provider: Any = provider, **options: Any) -> bool:
                ended.append(provider)
                raise RuntimeError("timed out")

            shutdown = provider.shutdown
            monkeypatch.setattr(provider, "force_flush", fail)
            monkeypatch.setattr(provider, "shutdown", fail)
            monkeypatch.setattr(provider, "_really", shutdown, raising=False)
        assert telemetry.flush() is False
        ended.clear()
        assert telemetry.shutdown() is False
        assert len(ended) == 2, "each of them is ended"
        for provider in ended:
            provider._really()


def test_it_is_the_default_until_it_is_shut_down() -> None:
    with receiver.http() as received:
        telemetry = setup(otlp=received.url)
        assert current() is telemetry
        ClusteredLLM([Endpoint("e", ScriptedModel())]).invoke("hello")
        assert telemetry.flush()
        assert [span.name for span in received.spans] == ["langchain_cluster chat", "chat scripted"]
        telemetry.shutdown()
        assert current() is not telemetry


def test_nothing_global_is_touched_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import metrics, trace

    set_by_us: list[Any] = []
    monkeypatch.setattr(trace, "set_tracer_provider", set_by_us.append)
    monkeypatch.setattr(metrics, "set_meter_provider", set_by_us.append)
    with receiver.http() as received:
        setup(otlp=received.url, default=False).shutdown()
        assert set_by_us == []
        setup(otlp=received.url, set_global=True, default=False).shutdown()
    assert len(set_by_us) == 2


def test_the_variables_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver.http() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "from-the-environment")
        with setup(default=False) as telemetry:
            ClusteredLLM([Endpoint("e", ScriptedModel())], telemetry=telemetry).invoke("hello")
        assert received.services == {"from-the-environment"}
        received.traces.clear()
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with setup(default=False) as telemetry:
            ClusteredLLM([Endpoint("e", ScriptedModel())], telemetry=telemetry).invoke("hello")
        assert received.traces == []
        monkeypatch.delenv("OTEL_SDK_DISABLED")
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        with setup(default=False) as telemetry:
            ClusteredLLM([Endpoint("e", ScriptedModel())], telemetry=telemetry).invoke("hello")
        assert received.traces == []
        assert received.metric_names


def test_signals_may_have_protocols_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    with receiver.http() as web, receiver.grpc() as wire:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", wire.url.replace("grpc://", "http://"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{web.url}/v1/metrics")
        with setup(default=False) as telemetry:
            ClusteredLLM([Endpoint("e", ScriptedModel())], telemetry=telemetry).invoke("hello")
        assert len(wire.spans) == 2
        assert (web.traces, bool(web.metric_names)) == ([], True)


def test_an_exporter_that_is_not_known_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin, otlp")
    telemetry = setup(otlp=True, default=False, start=False)
    assert telemetry.outlets is not None
    assert telemetry.outlets.traces
    assert "zipkin is not known here" in caplog.text


def test_prometheus_is_served_over_ipv6_too() -> None:
    pytest.importorskip("prometheus_client")
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with setup(prometheus="[::1]:0", default=False) as telemetry:
        assert telemetry.outlets is not None
        assert telemetry.outlets.port


def test_one_agent_may_be_named_alone() -> None:
    told = setup(agents="planner", default=False)
    assert told.metrics is not None
    assert [told.metrics._agent(name) for name in ("planner", "p")] == ["planner", "other"]


def test_it_may_be_started_again() -> None:
    with receiver.http() as received:
        telemetry = setup(otlp=received.url, start=False, default=False)
        llm = ClusteredLLM([Endpoint("e", ScriptedModel())], telemetry=telemetry)
        for count in (2, 4):
            with telemetry:
                llm.invoke("hello")
            assert len(received.spans) == count


def test_prometheus_is_served_and_not_in_the_global_registry() -> None:
    client = pytest.importorskip("prometheus_client")
    from urllib.request import urlopen

    telemetry = setup(prometheus="127.0.0.1:0", default=False)
    ClusteredLLM([Endpoint("e", ScriptedModel())], telemetry=telemetry).invoke("hello")
    assert telemetry.outlets is not None
    page = urlopen(f"http://127.0.0.1:{telemetry.outlets.port}/metrics").read().decode()
    assert "langchain_cluster_requests_total{" in page
    assert "gen_ai_client_operation_duration_seconds_bucket{" in page
    assert b"langchain_cluster" not in client.generate_latest(client.REGISTRY)
    assert telemetry.shutdown()


def test_a_port_that_is_taken_is_told() -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
            setup(prometheus=f"127.0.0.1:{taken.getsockname()[1]}", default=False)


@pytest.mark.parametrize(
    "options",
    [
        {"otlp": "localhost:4318"},
        {"otlp": "ftp://x"},
        {"otlp": "http://h:99999"},
        {"otlp": 4318},
        {"otlp": "http://h:4318/v1/traces/"},
        {"prometheus": "x"},
        {"prometheus": 70_000},
        {"agents": -1},
    ],
)
def test_what_is_no_address_is_told(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no collector|no place|one signal|less than 0"):
        setup(default=False, **options)


def test_a_secret_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        setup(otlp="http://user:CANARY@host:4318", default=False)
    assert "CANARY" not in str(refused.value)
