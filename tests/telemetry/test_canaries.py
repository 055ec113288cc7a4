"""Canaries in every place a secret, a question or an answer may stand, and none in anything that is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import AuditLog, Content, setup
from langchain_cluster.testing import SimulatedServer, faults
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
    """Everything a call that failed over, one that failed, and a hit have told anybody."""
    caplog.set_level(logging.DEBUG, logger="langchain_cluster")
    events: list[Any] = []
    with receiver.http() as received, SimulatedServer() as server:
        server.fail(faults.Status(500, {"error": {"message": f"{KEY} {PROMPT} {REPLY}"}}), endpoint="bad")
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

        llm = ClusteredLLM(
            [Endpoint("bad", model("bad")), Endpoint("good", model("good"), priority=1)],
            cache=MemoryCache(),
            telemetry=telemetry,
            policy=Policy(timeout=20.0),
        )
        llm.cluster.events.subscribe(events.append)
        config = {"configurable": {"cluster": {"tenant": TENANT}}}
        for _ in range(2):
            assert PROMPT in face.ask(llm, f"{PROMPT} {REPLY}", config).text, "the server repeats it"
        server.fail(faults.Status(503, {"error": {"message": f"{KEY} {PROMPT}"}}))
        with pytest.raises(Exception) as failed:
            face.ask(llm, f"{PROMPT} again", config)
        assert telemetry.outlets is not None
        page = urlopen(f"http://127.0.0.1:{telemetry.outlets.port}/metrics").read().decode()
        shown = repr((telemetry, telemetry.tracing, telemetry.metrics, telemetry.audit, telemetry.outlets))
        stats = repr((llm, llm.cluster, llm.cluster.stats()))
        assert telemetry.shutdown()
        llm.cluster.close()
        return {
            "spans": str(received.traces),
            "metrics": str(received.metrics),
            "prometheus": page,
            "audit": "".join(path.read_text() for path in folder.iterdir()),
            "logs": caplog.text,
            "reprs": shown + stats,
            "error": type(failed.value).__name__,
            "kinds of events": str([type(event).__name__ for event in events]),
        }


def test_no_secret_question_or_answer_is_told_anywhere(
    face: Face, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = told(face, tmp_path, caplog)
    assert "langchain_cluster.requests" in output["metrics"]
    assert output["audit"].count(f'"tenant":"{TENANT}"') == 3, "whose call it was is what a trail is for"
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
