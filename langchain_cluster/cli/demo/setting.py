"""What the demo runs on: three server processes, the chat model over them, and where its spans go."""

from __future__ import annotations

import os
from dataclasses import dataclass

from langchain_openai import ChatOpenAI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.testing.local_llm import MODEL, LocalLLM
from langchain_cluster.testing.server_process import HOST, ServerProcess

NAMES = ("llm-1", "llm-2", "llm-3")
MAX_TOKENS = 40
SIMULATED = "langchain_cluster.testing.simulated"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things are watched, seconds; `open_for` is the breaker's, `at_once` counts calls."""

    steady: float
    down: float
    back: float
    open_for: float
    at_once: int = 6


REAL = Pace(steady=14.0, down=11.0, back=10.0, open_for=2.0)
QUICK = Pace(steady=1.5, down=1.2, back=1.0, open_for=0.5)


def make_servers(*, simulated: bool) -> dict[str, ServerProcess]:
    """The servers by name, not started."""
    if not simulated:
        return {name: LocalLLM(name) for name in NAMES}
    return {
        name: ServerProcess(
            SIMULATED, "--name", name, "--latency", "lognormal:0.25,0.3", "--seed", str(seed), name=name
        )
        for seed, name in enumerate(NAMES)
    }


def make_llm(
    servers: dict[str, ServerProcess], pace: Pace, *, simulated: bool
) -> tuple[ClusteredLLM, InMemorySpanExporter]:
    """The chat model, and the spans of its calls."""
    _no_proxy()
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    llm = ClusteredLLM(
        endpoints=[
            Endpoint(
                name,
                model=ChatOpenAI(
                    base_url=server.openai_url,
                    model="simulated" if simulated else MODEL,
                    api_key=SecretStr("-"),
                    temperature=0,
                ),
            )
            for name, server in servers.items()
        ],
        cache=MemoryCache(),
        policy=Policy(attempts=3, timeout=60.0),
        breaker=BreakerPolicy(consecutive_failures=2, open_for=pace.open_for, max_open=2 * pace.open_for),
        max_tokens=MAX_TOKENS,
        tracing=OtelTracing(provider),  # its own provider: nothing global is touched
    )
    return llm, spans


def _no_proxy() -> None:
    """The servers are on this machine, whatever proxy leads out of it."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), HOST)))
