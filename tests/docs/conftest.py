"""Where the pages' snippets run: a folder of their own, servers that answer, nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from langchain_cluster.testing import SimulatedServer


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    """Answers in place of the addresses that a page shows."""
    with SimulatedServer() as running:
        yield running


class _Collector(BaseHTTPRequestHandler):
    """Takes spans by OTLP, and says so."""

    def do_POST(self) -> None:
        self.server.received.append(self.path)  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths an OTLP exporter without an address of its own has posted to."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    listening.received = []  # type: ignore[attr-defined]
    thread = Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listening.server_port}")
    yield listening.received  # type: ignore[attr-defined]
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, and globals that a page may set and the next test does not see."""
    from langchain_core.globals import get_llm_cache, set_llm_cache
    from opentelemetry import trace
    from opentelemetry.util._once import Once

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    before = get_llm_cache()
    yield tmp_path
    set_llm_cache(before)
