"""Calls per second over real HTTP: 64 async callers, four endpoints, against a bare client and peers.

    python tests/benchmarks/http.py

The endpoints are simulated servers in processes of their own that answer at once, so the client's cost
is what limits. Variants take turns in rounds and the best round of each counts. LiteLLM's Router runs
too where it is installed.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache

ENDPOINTS = 4


def start_servers() -> tuple[list[subprocess.Popen[str]], list[str]]:
    """One process an endpoint; each prints its url when it is ready."""
    command = [sys.executable, "-m", "langchain_cluster.testing.simulated", "--tokens", "12"]
    processes = [
        subprocess.Popen([*command, "--name", f"gpu-{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(ENDPOINTS)
    ]
    urls = []
    for process in processes:
        assert process.stdout is not None
        urls.append(process.stdout.readline().split()[-1].rstrip("/") + "/v1")
    return processes, urls


def client(url: str) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=url, api_key="-", max_retries=0)


def variants(urls: list[str]) -> dict[str, Callable[[str], Awaitable[Any]]]:
    """name -> ask"""
    bare = client(urls[0])
    turns = [client(url) for url in urls]
    fallbacks = client(urls[0]).with_fallbacks([client(url) for url in urls[1:]])
    cluster = ClusteredLLM([Endpoint(f"gpu-{n}", client(url)) for n, url in enumerate(urls)], seed=1)
    cached = ClusteredLLM(
        [Endpoint(f"gpu-{n}", client(url)) for n, url in enumerate(urls)], cache=MemoryCache(), seed=1
    )
    turn = iter(range(10**9))
    found: dict[str, Callable[[str], Awaitable[Any]]] = {
        "bare ChatOpenAI, one endpoint": bare.ainvoke,
        "bare ChatOpenAI, in turns": lambda text: turns[next(turn) % ENDPOINTS].ainvoke(text),
        "with_fallbacks": fallbacks.ainvoke,
        "ClusteredLLM": cluster.ainvoke,
        "ClusteredLLM, cache miss": cached.ainvoke,
    }
    try:
        from litellm import Router
    except ImportError:
        return found
    router = Router(
        model_list=[
            {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": url, "api_key": "-"}}
            for url in urls
        ],
        num_retries=2,
    )
    found["LiteLLM Router"] = lambda text: router.acompletion(
        model="m", messages=[{"role": "user", "content": text}]
    )
    return found


async def one_round(ask: Callable[[str], Awaitable[Any]], calls: int, at_once: int) -> tuple[float, float]:
    """(calls per second, CPU milliseconds per call)"""
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await ask(f"question {time.perf_counter_ns()} {number}")

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return calls / (time.perf_counter() - start), (time.process_time() - cpu) / calls * 1e3


async def measure(urls: list[str], calls: int, rounds: int, at_once: int) -> dict[str, tuple[float, float]]:
    found = variants(urls)
    best = dict.fromkeys(found, (0.0, float("inf")))
    for ask in found.values():
        await one_round(ask, at_once * 2, at_once)  # connections
    for _ in range(rounds):
        for name, ask in found.items():
            rate, cpu = await one_round(ask, calls, at_once)
            best[name] = max(best[name][0], rate), min(best[name][1], cpu)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    processes, urls = start_servers()
    try:
        results = asyncio.run(measure(urls, args.calls, args.rounds, args.at_once))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if args.json:
        print(json.dumps(results))
        return
    bare = results["bare ChatOpenAI, one endpoint"][0]
    print(f"{args.at_once} calls at once, best of {args.rounds} rounds of {args.calls}\n")
    print(f"{'':34}{'calls/s':>10}{'':>8}{'CPU ms/call':>14}")
    for name, (rate, cpu) in results.items():
        print(f"{name:34}{rate:10.0f} {rate / bare:6.2f}x{cpu:14.2f}")


if __name__ == "__main__":
    main()
