"""The trace of a real model in a real process: kept as a file and as a picture, and what must be in it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import setup
from langchain_cluster.testing.local_llm import INSTALL, MODEL, LocalLLM, is_installed
from tests.services.waterfall import draw, spans_of
from tests.telemetry import receiver

openai = pytest.importorskip("langchain_openai")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
json_format = pytest.importorskip("google.protobuf.json_format")


pytestmark = [
    pytest.mark.real_llm,
    pytest.mark.skipif(not is_installed(), reason=f"no local LLM here: {INSTALL}"),
]
ARTEFACTS = Path(os.environ.get("TEST_ARTEFACTS", "artefacts"))
QUESTION = "What is the capital of France? Answer in one short sentence."


def test_the_trace_of_a_real_model() -> None:
    with socket.socket() as closed, LocalLLM() as server, receiver.http() as received:
        closed.bind(("127.0.0.1", 0))  # nobody listens there
        telemetry = setup(service_name="real", otlp=received.url, default=False)

        def model(url: str) -> Any:
            return openai.ChatOpenAI(
                base_url=url, model=MODEL, api_key="-", temperature=0, stream_usage=True, max_tokens=24
            )

        down = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        llm = ClusteredLLM(
            [Endpoint("gpu-1", model(down)), Endpoint("gpu-2", model(server.openai_url), priority=1)],
            cache=MemoryCache(),
            telemetry=telemetry,
        )
        provider: Any = telemetry.tracing._provider
        with provider.get_tracer("app").start_as_current_span("a request of the program"):
            assert "Paris" in llm.invoke(QUESTION).text
            assert "Paris" in llm.invoke(QUESTION).text
            llm.cluster.pool.drain("gpu-1")
            assert list(llm.stream("Name three colours."))
            left = llm.stream("Count from one to twenty.")
            next(left)
            left.close()
        llm.cluster.close()
        assert telemetry.shutdown(20.0)
        (whole,) = [json_format.MessageToDict(one) for one in received.traces]
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "real-llm-trace.json").write_text(json.dumps(whole, indent=1))
    spans = spans_of(whole)
    picture = draw(spans)
    (ARTEFACTS / "real-llm-trace.svg").write_text(picture)

    told = [
        (span["depth"], span["name"], span["told"].get("langchain_cluster.verdict"))
        for span in spans
        if not span["name"].endswith("lookup")
    ]
    attempt = f"chat {MODEL}"
    assert told == [
        (0, "a request of the program", None),
        (1, "langchain_cluster chat", None),
        (2, attempt, "transient"),
        (2, attempt, "ok"),
        (1, "langchain_cluster chat", None),
        (1, "langchain_cluster chat", None),
        (2, attempt, "ok"),
        (1, "langchain_cluster chat", "abandoned"),
        (2, attempt, "abandoned"),
    ]
    answered = spans[4]["told"]
    assert answered["server.address"] == "127.0.0.1"
    assert int(answered["gen_ai.usage.input_tokens"]) > 10
    assert picture.count("<rect") == 1 + len(spans)
