"""What is logged, at which level, and what never is."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langchain_cluster import (
    BreakerPolicy,
    Cluster,
    ClusteredLLM,
    ConfigError,
    Endpoint,
    Outcome,
    Policy,
    Request,
)
from langchain_cluster.model import events
from langchain_cluster.model.call import Answer, AttemptReport, Verdict
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.telemetry.logs import EventLog, JsonFormatter, attach, described
from langchain_cluster.telemetry.scrub import hashed, scrub
from langchain_cluster.testing import ScriptedModel


def three(**options: Any) -> Cluster:
    return Cluster([Endpoint(id, ScriptedModel("hi")) for id in "abc"], **options)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> Any:
    with caplog.at_level(logging.DEBUG, logger="langchain_cluster"):
        yield


def test_a_state_change_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    cluster = three(log=True)
    cluster.pool.drain("a")
    cluster.pool.mark("b", healthy=False, reason="HTTP 503 from http://u:pw@10.0.0.1/")
    assert lines(caplog) == [
        ("INFO", "status_changed endpoint=a status=draining before=online"),
        ("WARNING", "health_changed endpoint=b healthy=False reason=HTTP 503 from http://***@10.0.0.1/"),
    ]


def test_calls_that_succeed_are_not_logged_and_those_that_fail_are(caplog: pytest.LogCaptureFixture) -> None:
    models = [Endpoint("a", ScriptedModel("hi", ValueError("the prompt was: my secret question")))]
    llm = ClusteredLLM(
        models, log=True, policy={"attempts": 1}, breaker=BreakerPolicy(consecutive_failures=9)
    )
    llm.invoke("hello")
    assert lines(caplog) == []
    with pytest.raises(ValueError, match="secret question"):
        llm.invoke("hello")
    assert [level for level, _ in lines(caplog)] == ["WARNING"]
    assert "call_ended error=ValueError attempts=1" in caplog.text
    assert "secret question" not in caplog.text


def test_calls_are_logged_for_who_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))])
    leave = attach(llm.cluster, calls=True)
    llm.for_agent("planner").invoke("hello")
    assert lines(caplog)[0][1].startswith("call_ended agent=planner endpoint=a source=off seconds=")
    leave()
    llm.invoke("hello")
    assert len(lines(caplog)) == 1


def test_a_cache_that_is_away_is_one_line_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    for at in range(5):
        log(events.CacheFailed(float(at), "lookup", "TimeoutError"))
    log(events.CacheRecovered(9.0, "lookup", 9.0))
    log(events.CacheFailed(10.0, "lookup", "TimeoutError"))
    assert [level for level, _ in lines(caplog)] == ["WARNING", "INFO", "WARNING"]


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (events.BreakerChanged(0.0, "a", "open", "closed", "5 failures in a row"), "WARNING"),
        (events.BreakerChanged(0.0, "a", "closed", "half_open", ""), "INFO"),
        (events.PanicChanged(0.0, 0, True), "WARNING"),
        (events.PanicChanged(0.0, 0, False), "INFO"),
        (events.EndpointJoined(0.0, Endpoint("a")), "INFO"),
        (events.TrafficMoved(0.0, ((0, 0.7), (1, 0.3)), ((0, 1.0), (1, 0.0))), "INFO"),
        (events.AlertFailed(0.0, "WebhookSink", "ConnectError"), "WARNING"),
    ],
)
def test_what_is_bad_is_a_warning(event: events.Event, level: str, caplog: pytest.LogCaptureFixture) -> None:
    EventLog()(event)
    assert [told for told, _ in lines(caplog)] == [level]


def test_an_event_is_described_by_plain_data_alone() -> None:
    report = AttemptReport(2, "a", Verdict.TRANSIENT, 0.5, "you said: secret", ValueError("secret"))
    assert described(events.AttemptEnded(1.0, report)) == {
        "endpoint": "a", "attempt": 2, "verdict": "transient", "seconds": 0.5, "error": "ValueError",
    }  # fmt: skip
    updated = events.EndpointUpdated(1.0, Endpoint("a", object()), Endpoint("a"))
    assert described(updated) == {"endpoint": "a"}
    ended = events.CallEnded(1.0, Request(payload="secret"), Answer("secret", "off", "a"), None, 1)
    assert "secret" not in json.dumps(described(ended))


def test_what_is_no_known_type_is_told_by_its_kind() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True, slots=True)
    class Odd(events.Event):
        thing: object

    assert described(Odd(0.0, Odd(0.0, 1))) == {"thing": "Odd"}


def formatted(message: str, **more: Any) -> dict[str, Any]:
    record = logging.LogRecord(
        "langchain_cluster", logging.WARNING, __file__, 1, message, (), more.pop("exc", None)
    )
    record.__dict__.update(more)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    return told


def test_json_has_the_fields_and_the_trace() -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("call") as span:
        told = formatted("hello", event={"name": "status_changed", "endpoint": "a", "count": 3})
    assert told["time"].endswith("+00:00")
    assert (told["level"], told["logger"], told["message"]) == ("warning", "langchain_cluster", "hello")
    assert told["event"] == {"name": "status_changed", "endpoint": "a", "count": 3}
    assert told["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert told["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in formatted("hello")


async def test_what_happens_in_a_call_has_its_trace() -> None:
    seen, kept = InMemorySpanExporter(), io.StringIO()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    handler = logging.StreamHandler(kept)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("tests.logs.trace")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel(ConnectionError("down")))],
        tracing=OtelTracing(provider),
        policy=Policy(attempts=1),
        breaker=BreakerPolicy(consecutive_failures=1),
    )
    attach(llm.cluster, logger="tests.logs.trace", calls=True)
    with pytest.raises(ConnectionError):
        await llm.ainvoke("hello")
    llm.cluster.pool.drain("a")
    told = {line["event"]["name"]: line for line in map(json.loads, kept.getvalue().splitlines())}
    call = seen.get_finished_spans()[-1].context
    for name in ("attempt_ended", "breaker_changed", "call_ended"):
        assert (told[name]["trace_id"], told[name]["span_id"]) == (
            f"{call.trace_id:032x}",
            f"{call.span_id:016x}",
        )
    assert "trace_id" not in told["status_changed"], "nobody's call"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("the prompt was: tell me of foxes"), "ValueError"),
        (ConnectionError("connection refused"), "ConnectionError: connection refused"),
        (ConfigError("https://user:hunter2@host/ is none"), "ConfigError: https://***@host/ is none"),
    ],
)
def test_json_has_an_exception_without_what_it_quotes(error: Exception, told: str) -> None:
    try:
        raise error
    except Exception:
        assert formatted("failed", exc=sys.exc_info())["error"] == told


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("redis://:hunter2@10.0.0.1:6379/0", "redis://***@10.0.0.1:6379/0"),
        ("https://a:hunter2@h and postgres://b:hunter2@h", "https://***@h and postgres://***@h"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic aHVudGVyMg=='}", "{'authorization': 'Basic ***'}"),
        ("x-api-key: hunter2", "x-api-key: ***"),
        ('{"api_key": "hunter2", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("GET /v1?token=hunter2&x=1", "GET /v1?token=***&x=1"),
        ("key sk-proj-hunter2hunter2 is wrong", "key *** is wrong"),
        ("hf_hunter2hunter2", "***"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/services/***"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, left: str) -> None:
    assert scrub(text) == left
    assert scrub(left) == left
    assert "hunter2" not in formatted(text)["message"]


@pytest.mark.parametrize(
    "text",
    ["status_changed endpoint=a status=draining", "output_tokens 30, the token bucket", "http://h/a@b"],
)
def test_what_is_none_stays(text: str) -> None:
    assert scrub(text) == text


def test_a_throttled_endpoint_is_logged_once_with_its_seconds(caplog: pytest.LogCaptureFixture) -> None:
    cluster = three(log=True)
    with cluster.pool.acquire(exclude=("b", "c")) as lease:
        lease.settle(Outcome.throttled(3.0))
    assert [message.split(" hearsay")[0] for _, message in lines(caplog)] == [
        "endpoint_cooling endpoint=a seconds=3.0"
    ]


def test_a_tenants_budget_is_logged_without_its_name(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    log(events.BudgetUsed(1.0, "tenant", "acme", 0.8, 4.0, 5.0, 60.0))
    log(events.BudgetUsed(1.0, "agent", "planner", 1.0, 5.0, 5.0, None))
    told = f"scope=tenant who={hashed('acme')} part=0.8 spent=4.0 limit=5.0 resets_in=60.0"
    assert lines(caplog)[0] == ("INFO", f"budget_used {told}")
    assert lines(caplog)[1] == ("WARNING", "budget_used scope=agent who=planner part=1.0 spent=5.0 limit=5.0")
