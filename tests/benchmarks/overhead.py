"""What a call costs beside its model: bare `invoke`, `with_fallbacks`, and a `ClusteredLLM`.

    python tests/benchmarks/overhead.py

The model answers in place, so what is measured is what stands around it. Every variant runs in one
process, in rounds that take turns, and the best round of each counts: the machine's other work then
hits all alike. The cluster has everything on: balancer, breaker, retry budget, deadline, exact cache,
and telemetry without an exporter, once with no tracer provider set and once with one of the SDK's.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import OtelTracing

PROMPT = "Why is the sky blue? Answer in one sentence, please."
ANSWER = "Because air scatters short waves of light more than long ones."


class Watcher(BaseCallbackHandler):
    """A callback handler that looks at nothing: with one attached every step of LangChain runs."""


def model() -> Any:
    return GenericFakeChatModel(messages=itertools.repeat(AIMessage(ANSWER)))


def cluster(*, cache: bool = True, tracing: Any = None) -> ClusteredLLM:
    endpoints = [Endpoint(f"gpu-{n}", model()) for n in range(4)]
    store = MemoryCache(max_entries=1000) if cache else None
    return ClusteredLLM(endpoints, cache=store, tracing=tracing, seed=1)


def sdk_tracing() -> Any:
    try:
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        return None
    return OtelTracing(TracerProvider())


def variants() -> dict[str, tuple[Any, bool, dict[str, Any]]]:
    """name -> (model, whether every prompt is new, config)"""
    watched = {"callbacks": [Watcher()]}
    found: dict[str, tuple[Any, bool, dict[str, Any]]] = {
        "bare model": (model(), True, {}),
        "with_fallbacks": (model().with_fallbacks([model()]), True, {}),
        "cluster, cache miss": (cluster(), True, {}),
        "cluster, cache hit": (cluster(), False, {}),
        "cluster, no cache": (cluster(cache=False), True, {}),
        "bare model, watched": (model(), True, watched),
        "cluster, cache miss, watched": (cluster(), True, watched),
        "cluster, cache hit, watched": (cluster(), False, watched),
    }
    if (tracing := sdk_tracing()) is not None:
        found["cluster, cache miss, SDK spans"] = (cluster(tracing=tracing), True, {})
    return found


def sync_round(llm: Any, fresh: bool, config: dict[str, Any], calls: int) -> float:
    prompts = [f"{PROMPT} {time.perf_counter_ns()} {n}" if fresh else PROMPT for n in range(calls)]
    start = time.process_time()
    for prompt in prompts:
        llm.invoke(prompt, config)
    return (time.process_time() - start) / calls


async def async_round(llm: Any, fresh: bool, config: dict[str, Any], calls: int) -> float:
    prompts = [f"{PROMPT} {time.perf_counter_ns()} {n}" if fresh else PROMPT for n in range(calls)]
    start = time.process_time()
    for prompt in prompts:
        await llm.ainvoke(prompt, config)
    return (time.process_time() - start) / calls


def measure(run: Callable[..., float], calls: int, rounds: int) -> dict[str, float]:
    found = variants()
    for llm, fresh, config in found.values():
        run(llm, fresh, config, 50)  # warm: a model is trusted to answer in place after some calls
    best = dict.fromkeys(found, float("inf"))
    for _ in range(rounds):
        for name, (llm, fresh, config) in found.items():
            best[name] = min(best[name], run(llm, fresh, config, calls))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls per round")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    loop = asyncio.new_event_loop()

    def awaited(*given: Any) -> float:
        step: Awaitable[float] = async_round(*given)
        return loop.run_until_complete(step)  # type: ignore[arg-type]

    results = {
        "sync": measure(sync_round, args.calls, args.rounds),
        "async": measure(awaited, args.calls, args.rounds),
    }
    loop.close()
    if args.json:
        print(json.dumps(results))
        return
    print(f"process-CPU µs per call, best of {args.rounds} rounds of {args.calls}; ratio to the bare model\n")
    print(f"{'':34}{'invoke':>10}{'':>8}{'ainvoke':>10}")
    for name in results["sync"]:
        base = "bare model, watched" if name.endswith("watched") else "bare model"
        line = f"{name:34}"
        for colour in ("sync", "async"):
            seconds, bare = results[colour][name], results[colour][base]
            line += f"{seconds * 1e6:10.1f} {seconds / bare:5.2f}x "
        print(line)


if __name__ == "__main__":
    main()
