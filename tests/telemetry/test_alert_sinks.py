"""Where alerts go, and what happens when they do not get there."""

from __future__ import annotations

import asyncio
import json
import logging
from threading import Event, current_thread
from typing import Any

import httpx
import pytest
import respx

from langchain_cluster import ConfigError
from langchain_cluster.model.alert import Alert, Level
from langchain_cluster.telemetry.alerts import LogSink, WebhookSink, sinks
from langchain_cluster.telemetry.alerts.outbox import Outbox

ALERT = Alert("endpoint_down", Level.CRITICAL, "gpu-1", "endpoint gpu-1 is offline", 10.0, 40.0)
OVER = Alert("endpoint_down", Level.CRITICAL, "gpu-1", "", 10.0, 70.0, "resolved")
URL = "https://hooks.example/services/T0/secret-token"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "WAIT", 0.0)
    monkeypatch.setattr(sinks, "LONGEST_WAIT", 0.0)


def outbox(*given: Any, **options: Any) -> tuple[Outbox, list[tuple[str, str]]]:
    failed: list[tuple[str, str]] = []
    return Outbox(given, lambda part, error: failed.append((part, error)), **options), failed


@respx.mock
def test_a_webhook_is_sent_json_with_a_text_for_people() -> None:
    route = respx.post(URL)
    WebhookSink(URL)(ALERT)
    sent = json.loads(route.calls.last.request.content)
    assert sent.pop("time").endswith("+00:00")
    assert sent == {
        "text": "langchain-cluster: critical: endpoint gpu-1 is offline",
        "rule": "endpoint_down",
        "level": "critical",
        "subject": "gpu-1",
        "state": "firing",
        "seconds": 30.0,
    }


@respx.mock
def test_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", URL)
    monkeypatch.setenv("TOKEN", "Bearer xyz")
    route = respx.post(URL)
    WebhookSink(url_env="WHERE", headers_env={"Authorization": "TOKEN"})(OVER)
    assert route.calls.last.request.headers["Authorization"] == "Bearer xyz"
    assert json.loads(route.calls.last.request.content)["state"] == "resolved"


@pytest.mark.parametrize("first", [httpx.Response(500), httpx.Response(429), httpx.ConnectError("refused")])
@respx.mock
def test_what_may_pass_is_tried_again(first: Any) -> None:
    route = respx.post(URL).mock(side_effect=[first, first, httpx.Response(200)])
    WebhookSink(URL)(ALERT)
    assert route.call_count == 3


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (302, 1), (503, 4)])
@respx.mock
def test_what_does_not_pass_is_given_up(status: int, tries: int) -> None:
    route = respx.post(URL).mock(return_value=httpx.Response(status))
    with pytest.raises(httpx.HTTPStatusError):
        WebhookSink(URL)(ALERT)
    assert route.call_count == tries


@respx.mock
def test_a_redirect_is_not_followed_as_it_may_lead_anywhere() -> None:
    respx.post(URL).mock(return_value=httpx.Response(302, headers={"Location": "https://elsewhere.example/"}))
    elsewhere = respx.route(host="elsewhere.example")
    with pytest.raises(httpx.HTTPStatusError):
        WebhookSink(URL)(ALERT)
    assert not elsewhere.called


@respx.mock
def test_a_failing_webhook_is_an_event_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    respx.post(URL).mock(return_value=httpx.Response(404))
    heard: list[Any] = []
    sink = WebhookSink(URL)
    box, failed = outbox(sink, heard.append)
    with caplog.at_level(logging.DEBUG, logger="langchain_cluster"):
        box.put(ALERT)
        assert box.close(20.0)
    assert failed == [("WebhookSink", "HTTPStatusError")]
    assert heard == [ALERT]
    assert (box.sent, box.lost) == (1, 1)
    assert "secret-token" not in repr(sink) + repr(failed) + caplog.text


@respx.mock
def test_closing_does_not_wait_for_tries_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "WAIT", 3600.0)
    monkeypatch.setattr(sinks, "LONGEST_WAIT", 3600.0)
    tried = Event()

    def answer(request: httpx.Request) -> httpx.Response:
        tried.set()
        return httpx.Response(503)

    respx.post(URL).mock(side_effect=answer)
    box, _ = outbox(WebhookSink(URL))
    box.put(ALERT)
    assert tried.wait(20)
    assert not box.close(0.01)
    assert box.lost == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "give one of url and url_env"),
        ({"url": URL, "url_env": "X"}, "give one of url and url_env"),
        ({"url": "secret://x"}, "is no address that begins with http"),
        ({"url_env": "NOT_SET_AT_ALL"}, "not set, or empty"),
        ({"url": URL, "headers_env": {"A": "NOT_SET_AT_ALL"}}, "headers_env.A"),
        ({"url": URL, "timeout": 0}, "0 is not a number of seconds > 0"),
        ({"url": URL, "retries": -1}, "-1 is not an integer >= 0"),
    ],
)
def test_a_webhook_that_cannot_work_is_told(given: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        WebhookSink(**given)
    assert told in str(error.value)
    assert "secret" not in str(error.value)


def test_the_log_has_the_alerts_own_level(caplog: pytest.LogCaptureFixture) -> None:
    sink = LogSink()
    with caplog.at_level(logging.INFO, logger="langchain_cluster.alerts"):
        sink(ALERT)
        sink(OVER)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("CRITICAL", "critical: endpoint gpu-1 is offline"),
        ("INFO", "resolved after 60 s: endpoint_down of gpu-1"),
    ]
    assert repr(sink) == "<LogSink langchain_cluster.alerts>"


def test_sinks_are_called_elsewhere_in_order_and_may_be_async() -> None:
    heard: list[tuple[str, str]] = []

    async def awaited(alert: Alert) -> None:
        await asyncio.sleep(0)
        heard.append(("async", alert.state))

    def plain(alert: Alert) -> None:
        heard.append((current_thread().name, alert.state))

    box, failed = outbox(plain, awaited)
    box.put(ALERT)
    box.put(OVER)
    assert box.close(20.0)
    name = "langchain-cluster-alert-sinks"
    assert heard == [(name, "firing"), ("async", "firing"), (name, "resolved"), ("async", "resolved")]
    assert failed == []


def test_putting_never_waits_and_what_is_too_much_is_told() -> None:
    begun, gate, heard = Event(), Event(), []

    def slow(alert: Alert) -> None:
        begun.set()
        gate.wait(20)
        heard.append(alert)

    box, failed = outbox(slow, room=2)
    box.put(ALERT)
    assert begun.wait(20)
    for _ in range(3):
        box.put(ALERT)
    assert failed == [("outbox", "Full")]
    assert box.lost == 1
    gate.set()
    assert box.close(20.0)
    assert len(heard) == 3


def test_a_sink_that_hangs_is_left_behind_when_it_is_closed() -> None:
    begun, gate = Event(), Event()

    class Hangs:
        closed = False

        def __call__(self, alert: Alert) -> None:
            begun.set()
            gate.wait(20)

        def close(self) -> None:
            self.closed = True
            gate.set()

    sink = Hangs()
    box, _ = outbox(sink, room=1)
    box.put(ALERT)
    assert begun.wait(20)
    box.put(ALERT)
    assert not box.close(0.01)
    assert sink.closed
    assert box.lost == 1


def test_a_closed_outbox_opens_again_and_one_without_sinks_does_nothing() -> None:
    heard: list[Alert] = []
    box, _ = outbox(heard.append)
    for _ in range(2):
        box.put(ALERT)
        assert box.close(20.0)
    assert len(heard) == 2
    assert box.close(1.0)
    empty, _ = outbox()
    empty.put(ALERT)
    assert empty._thread is None
