"""Canaries in every place a secret, a question or an answer may stand, and none in anything that is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from langchain_cluster import BreakerPolicy, ClusteredLLM, ClusterError, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import AuditLog, Content, setup
from langchain_cluster.telemetry.logs import JsonFormatter, attach
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.faces.faces import NAMES, Face
from tests.telemetry import receiver

openai = pytest.importorskip("langchain_openai")
pytest.importorskip("prometheus_client")

KEY, PROMPT, REPLY, HEADER, TENANT = (
    f"CANARY-{what}-7f3a" for what in ("KEY", "PROMPT", "REPLY", "HEADER", "TENANT")
)
SECRETS = (KEY, PROMPT, REPLY, HEADER, TENANT)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES[:4])
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


def told(face: Face, folder: Path, caplog: Any, content: Any = False) -> dict[str, str]:
    """Everything that calls that failed over, that failed, that broke, and a hit have told anybody."""
    caplog.set_level(logging.DEBUG, logger="langchain_cluster")
    caplog.handler.setFormatter(JsonFormatter())
    events: list[Any] = []
    with receiver.http() as received, SimulatedServer() as server:
        echo = f"the key {KEY} was sent {PROMPT}; so far {REPLY}"
        for status in (500, 401, 429):
            body = {"error": {"message": echo, "code": PROMPT, "type": REPLY}}
            server.fail(faults.Status(status, body), endpoint=f"bad-{status}")
        telemetry = setup(
            service_name="canaries",
            otlp=received.url,
            prometheus="127.0.0.1:0",
            audit=AuditLog(folder / "audit.jsonl", chain=True),
            content=content,
            default=False,
        )

        def model(name: str) -> Any:
            return openai.ChatOpenAI(
                base_url=server.openai_url(name),
                model="m",
                api_key=KEY,
                default_headers={"x-secret": HEADER},
            )

        echoing = {
            **{name: model(name) for name in ("bad-500", "bad-401", "bad-429")},
            **{type(e).__name__: ScriptedModel(e) for e in (kind(echo) for kind in _RAISED)},
        }
        good = Endpoint("good", model("good"), priority=1)
        options: dict[str, Any] = {
            "telemetry": telemetry,
            "breaker": BreakerPolicy(consecutive_failures=2),
            "policy": Policy(timeout=20.0, attempts=2, wait=lambda _: 0.0),
        }
        pools = [
            ClusteredLLM([Endpoint(name, one, url=URL), good], cache=MemoryCache(), **options)
            for name, one in echoing.items()
        ]
        gone = [ClusteredLLM([Endpoint(n, echoing[n], url=URL) for n in two], **options) for two in _TOGETHER]
        broken = ClusteredLLM(
            [Endpoint("broken", ScriptedModel([REPLY, " and ", RuntimeError(echo)]))], **options
        )
        errors: list[BaseException] = []
        config = {"configurable": {"cluster": {"tenant": TENANT}}}
        for llm in (*pools, *gone, broken):
            llm.cluster.events.subscribe(events.append)
            attach(llm.cluster, calls=True)
        for llm in pools:
            for _ in range(2):
                assert PROMPT in face.ask(llm, f"{PROMPT} {REPLY}", config).text, "the server repeats it"
        for llm in (*gone, broken):
            with pytest.raises(Exception) as failed:
                face.ask(llm, f"{PROMPT} again", config)
            errors.append(failed.value)
        assert {type(error).__name__ for error in errors} >= {"ClusterExhausted"}
        for error in errors:
            logging.getLogger("langchain_cluster.app").error("it failed", exc_info=error)
        assert telemetry.outlets is not None
        page = urlopen(f"http://127.0.0.1:{telemetry.outlets.port}/metrics").read().decode()
        admin = _admin(gone[0], events)
        shown = [telemetry, telemetry.tracing, telemetry.metrics, telemetry.audit, telemetry.outlets]
        for llm in (*pools, *gone, broken):
            cluster = llm.cluster
            shown += [llm, cluster, cluster.stats(), cluster.pool.snapshot, *cluster.pool]
            shown += [member.endpoint for member in cluster.pool]
        assert telemetry.shutdown()
        for llm in (*pools, *gone, broken):
            llm.cluster.close()
        return {
            "spans": str(received.traces),
            "metrics": str(received.metrics),
            "prometheus": page,
            "audit": "".join(path.read_text() for path in folder.iterdir()),
            "logs": "\n".join(JsonFormatter().format(record) for record in caplog.records) + caplog.text,
            "admin": admin,
            "reprs": repr(shown),
            "errors": "\n".join(map(_ours, errors)),
            "events": repr(events),
        }


URL = f"http://user:{KEY}@127.0.0.1:9/v1?key={KEY}"
_TOGETHER = (("bad-500", "RuntimeError"), ("ValueError", "ConnectionError"), ("TimeoutError", "KeyError"))
_RAISED = (RuntimeError, ValueError, ConnectionError, TimeoutError, KeyError)


def _ours(error: BaseException) -> str:
    """What this library says of it. A provider's own error that is let through says what it says."""
    said = [*getattr(error, "__notes__", ()), *map(repr, getattr(error, "attempts", ()))]
    if isinstance(error, ClusterError):
        said += [str(error), repr(error)]
    return "\n".join(said)


def _admin(llm: ClusteredLLM, events: list[Any]) -> str:
    """Every page of the admin app, and every event as its streams tell it."""
    starlette = pytest.importorskip("starlette.testclient")
    from langchain_cluster.admin import create_app

    app = create_app(llm)
    client = starlette.TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    with pytest.raises(ClusterError):
        llm.invoke(f"{PROMPT} for the page")
    pages = ["/", "/health", "/ready", "/endpoints", "/stats", "/cache", "/config", "/metrics"]
    told = [client.get(page).text for page in pages]
    ledger = app.state.view.ledger
    return "\n".join([*told, str(list(ledger.recent)), *(str(ledger.shape(event)) for event in events)])


def test_no_secret_question_or_answer_is_told_anywhere(
    face: Face, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = told(face, tmp_path, caplog)
    assert "langchain_cluster.requests" in output["metrics"]
    assert output["audit"].count(f'"tenant":"{TENANT}"') == 2 * 8 + 4, (
        "whose call it was is what a trail is for"
    )
    output["audit"] = output["audit"].replace(f'"tenant":"{TENANT}"', "")
    for place, text in output.items():
        assert text or place == "logs"
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {place}"


def test_what_is_asked_for_is_shown_as_far_as_the_hook_lets_it(
    face: Face, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = Content(redact=lambda text: text.replace(PROMPT, "[question]").replace(REPLY, "[answer]"))
    output = told(face, tmp_path, caplog, content)
    assert "[question] [answer]" in output["spans"]
    output["audit"] = output["audit"].replace(f'"tenant":"{TENANT}"', "")
    for place, text in output.items():
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {place}"


def test_a_hook_that_fails_shows_nothing(
    face: Face, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def redact(text: str) -> str:
        raise ValueError(text)

    output = told(face, tmp_path, caplog, Content(redact=redact))
    assert "[not shown" in output["spans"]
    assert PROMPT not in output["spans"] + output["logs"]


@pytest.mark.parametrize(("said", "shown"), [("true", True), ("false", False), ("", False)])
def test_the_standard_switch(monkeypatch: pytest.MonkeyPatch, said: str, shown: bool) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", said)
    assert (Content.from_environment() is not None) is shown
