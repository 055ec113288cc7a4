"""The same faults through this library, LangChain's fallbacks and LiteLLM's Router: who still answers?

    python tests/benchmarks/faults.py [--litellm /path/to/python] [--requests 2000] [--rate 100] [--json]

Four simulated endpoints, of which one or three have a fault from the beginning. Requests begin at a fixed
rate, however long the others take, and each has two seconds. An answer counts when it is whole, word for
word. Wasted are the requests that reached an endpoint with a fault. Every subject runs in a process of its
own, with the interpreter that has it (LiteLLM pins other versions than ours); the servers are the parent's.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import asyncio
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

ENDPOINTS = 4
TIMEOUT = 2.0  # seconds a request has
# What is said of ours in the docs: a limit for an attempt that is well above what answers take and well
# below the whole, the same for a first token and a gap, and streams that go on elsewhere.
POLICY = {
    "timeout": TIMEOUT,
    "attempt_timeout": 1.0,
    "first_token_timeout": 0.5,
    "idle_timeout": 0.3,
    "recover": "resume",
}
TEXT = "every answer of every endpoint is this one sentence of exactly fourteen words here"
SUBJECTS = {
    "ClusteredLLM": "ours",
    "LangChain, round robin + fallbacks": "langchain",
    "LiteLLM Router, shuffle": "litellm simple-shuffle",
    "LiteLLM Router, least-busy": "litellm least-busy",
    "LiteLLM Router, latency-based": "litellm latency-based-routing",
}
SCENARIOS = {  # name: (streamed, faults by endpoint)
    "healthy": (False, {}),
    "one returns 500": (False, {0: "Status(500)"}),
    "one hangs": (False, {0: "Hang()"}),
    "one 429 + Retry-After": (False, {0: "RateLimited(10)"}),
    "500 + hang + 429": (False, {0: "Status(500)", 1: "Hang()", 2: "RateLimited(10)"}),
    "streams, healthy": (True, {}),
    "cut before the first token": (True, {0: "CutAfter(0)"}),
    "cut after three tokens": (True, {0: "CutAfter(3)"}),
    "stalled after three tokens": (True, {0: "StallAfter(3)"}),
    "first token after 5 s": (True, {0: "SlowFirstToken(5.0)"}),
}

Ask = Callable[[str], Awaitable[str]]


# -- the subjects, each in a process of its own ------------------------------------------------------


def ours(urls: list[str], *, streamed: bool) -> Ask:
    from langchain_openai import ChatOpenAI

    from langchain_cluster import ClusteredLLM, Endpoint, Policy

    models = [ChatOpenAI(model="m", base_url=url, api_key="-") for url in urls]
    llm = ClusteredLLM(
        [Endpoint(f"gpu-{n}", model) for n, model in enumerate(models)],
        policy=Policy(**POLICY),
    )
    return by_langchain(lambda: llm, streamed=streamed)


def langchain(urls: list[str], *, streamed: bool) -> Ask:
    from langchain_openai import ChatOpenAI

    models = [
        ChatOpenAI(model="m", base_url=url, api_key="-", timeout=TIMEOUT, max_retries=0) for url in urls
    ]
    chains = [
        models[n].with_fallbacks([models[(n + further) % ENDPOINTS] for further in range(1, ENDPOINTS)])
        for n in range(ENDPOINTS)
    ]
    turn = count()
    return by_langchain(lambda: chains[next(turn) % ENDPOINTS], streamed=streamed)


def by_langchain(choose: Callable[[], Any], *, streamed: bool) -> Ask:
    async def ask(text: str) -> str:
        return str((await choose().ainvoke(text)).text)

    async def ask_stream(text: str) -> str:
        return "".join([str(chunk.text) async for chunk in choose().astream(text)])

    return ask_stream if streamed else ask


def litellm(urls: list[str], strategy: str, *, streamed: bool) -> Ask:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm import Router  # type: ignore[import-not-found]

    router = Router(
        model_list=[
            {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": url, "api_key": "-"}}
            for url in urls
        ],
        routing_strategy=strategy,
        num_retries=2,
        timeout=TIMEOUT,
        stream_timeout=TIMEOUT,
    )

    async def ask(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        return (await router.acompletion(model="m", messages=messages)).choices[0].message.content or ""

    async def ask_stream(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        stream = await router.acompletion(model="m", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return ask_stream if streamed else ask


async def load(ask: Ask, requests: int, rate: float) -> list[float | None]:
    """Seconds of each answer, None where there was no whole one. No request waits for another."""

    async def one(number: int, begin: float) -> float | None:
        await asyncio.sleep(begin - time.perf_counter())
        try:
            # What has no answer after so long has none: nobody waits three times what he asked for.
            async with asyncio.timeout(TIMEOUT * 3 + 0.1):
                said = await ask(f"question {number}")
        except Exception:
            return None
        return time.perf_counter() - begin if said == TEXT else None

    start = time.perf_counter() + 0.2
    return await asyncio.gather(*(one(n, start + n / rate) for n in range(requests)))


def subject(words: list[str]) -> None:
    """One subject on one scenario: prints what `load` returns."""
    name, streamed, requests, rate, *urls = words
    kind, _, strategy = name.partition(" ")
    warm, urls = urls[0], urls[1:]

    def made(urls: list[str]) -> Ask:
        if kind == "litellm":
            return litellm(urls, strategy, streamed=streamed == "True")
        return {"ours": ours, "langchain": langchain}[kind](urls, streamed=streamed == "True")

    async def all_of_it() -> list[float | None]:
        await load(made([warm] * ENDPOINTS), 20, 100.0)
        return await load(made(urls), int(requests), float(rate))

    seconds = asyncio.run(all_of_it())
    sys.stdout.write(f"\nRESULT {json.dumps(seconds)}\n")
    sys.stdout.flush()
    os._exit(0)  # threads and connections to what hangs are not waited for


# -- the parent: servers, and what they saw ----------------------------------------------------------


def measure(name: str, scenario: str, python: str, requests: int, rate: float) -> dict[str, Any]:
    """One cell: success in percent, p50 and p99 in ms, and the requests each endpoint with a fault got."""
    from langchain_cluster.testing import SimulatedServer, faults

    streamed, broken = SCENARIOS[scenario]
    with SimulatedServer() as server:
        server.behave(reply=TEXT, latency=0.02, first_token=0.01, between_tokens=0.002)
        for n, fault in broken.items():
            server.fail(eval(fault, vars(faults)), endpoint=f"gpu-{n}")
        urls = [server.openai_url(f"gpu-{n}") for n in range(ENDPOINTS)]
        words = [SUBJECTS[name], str(streamed), str(requests), str(rate), server.openai_url("warm"), *urls]
        done = subprocess.run(
            [python, __file__, "--subject", *words], capture_output=True, text=True, timeout=600
        )
        result = [line for line in done.stdout.split("\n") if line.startswith("RESULT ")]
        if not result:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        took = json.loads(result[0].removeprefix("RESULT "))
        wasted = [server.count(f"gpu-{n}") for n in broken]
        shares = [server.count(f"gpu-{n}") for n in range(ENDPOINTS)]
    good = sorted(seconds for seconds in took if seconds is not None)
    # Who got nothing waited as well: the percentiles are of the answers, and say so.
    return {
        "success": 100.0 * len(good) / len(took),
        "p50": 1e3 * good[len(good) // 2] if good else None,
        "p99": 1e3 * good[int(len(good) * 0.99)] if good else None,
        "wasted": wasted,
        "shares": shares,
    }


def can(python: str, module: str) -> bool:
    """Whether that interpreter can import it."""
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def cell(result: dict[str, Any]) -> str:
    """`100 / 41 / 43 / 5`"""
    number = f"{result['success']:.2f}".rstrip("0").rstrip(".")
    times = " / ".join("-" if result[p] is None else f"{result[p]:.0f}" for p in ("p50", "p99"))
    wasted = " + ".join(map(str, result["wasted"])) or "0"
    return f"{number} / {times} / {wasted}"


def main() -> None:
    if "--subject" in sys.argv:
        subject(sys.argv[sys.argv.index("--subject") + 1 :])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--litellm", default=sys.executable, help="a Python that has LiteLLM")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--only", default="", help="subjects and scenarios with this in their name")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    print(
        f"ours: Policy({', '.join(f'{name}={value!r}' for name, value in POLICY.items())})", file=sys.stderr
    )
    subjects = {name: sys.executable for name, kind in SUBJECTS.items() if "litellm" not in kind}
    if can(given.litellm, "litellm"):
        subjects |= {name: given.litellm for name, kind in SUBJECTS.items() if "litellm" in kind}
    else:
        print("LiteLLM is not installed: left out (--litellm PYTHON)", file=sys.stderr)
    chosen = [s for s in subjects if given.only in s] or list(subjects)
    scenarios = [s for s in SCENARIOS if given.only in s] or list(SCENARIOS)
    results: dict[str, dict[str, Any]] = {}
    if not given.json:
        print("success % / p50 ms / p99 ms / requests wasted on each endpoint with a fault\n")
        print("| | " + " | ".join(chosen) + " |")
        print("|---|" + "---|" * len(chosen))
    for scenario in scenarios:
        row = results[scenario] = {
            name: measure(name, scenario, subjects[name], given.requests, given.rate) for name in chosen
        }
        if not given.json:
            print(f"| {scenario} | " + " | ".join(map(cell, row.values())) + " |", flush=True)
    if given.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
