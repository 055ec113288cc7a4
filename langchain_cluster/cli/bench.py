"""`bench`: what the endpoints of a config do under load, with real calls; the cache is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from langchain_cluster.cli.screen import clean, complain, console, one_line, print_json
from langchain_cluster.errors import NoEndpointAvailable

EPILOG = "Example:\n\nlangchain-cluster bench cluster.yaml --calls 200 --callers 16"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
READY = 5.0  # seconds that registries have to answer in


@dataclass(frozen=True, slots=True)
class Called:
    """One call; times in seconds. `endpoint` is who answered, `error` why nobody did."""

    seconds: float
    first_token_seconds: float | None = None
    endpoint: str | None = None
    error: str | None = None


def bench(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A config file.")],
    calls: Annotated[int, typer.Option(min=1, help="How many calls.")] = 100,
    callers: Annotated[int, typer.Option(min=1, max=256, help="How many at once.")] = 8,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="What is asked; {n} is the number of the call.")
    ] = "Say hello to number {n}.",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Call the endpoints of a config many times and show how fast they answer. These are real calls."""
    from langchain_cluster.llm import ClusteredLLM

    llm = ClusteredLLM.from_config(file)
    with llm.cluster:
        if not llm.cluster.wait_ready(READY):
            raise NoEndpointAvailable(f"no registry answered within {READY:g} s")
        began = perf_counter()
        done = _run(llm, [prompt.replace("{n}", str(n)) for n in range(1, calls + 1)], callers)
        seconds = perf_counter() - began
        members = llm.cluster.pool.snapshot.members
    failed = {member.endpoint.id: member.failed for member in members}
    told = {"attempts": sum(member.served + member.failed for member in members)}
    told |= _facts(done, seconds, failed)
    if as_json:
        print_json({"file": file, "callers": callers, **told})
    else:
        _show(told, callers)
    if told["failed"]:
        raise typer.Exit(1)


def _run(llm: Any, prompts: Sequence[str], callers: int) -> list[Called]:
    with ThreadPoolExecutor(min(callers, len(prompts))) as threads:
        try:
            return list(threads.map(lambda prompt: _call(llm, prompt), prompts))
        except BaseException:  # Ctrl-C: what has not begun does not begin
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _call(llm: Any, prompt: str) -> Called:
    about: dict[str, Any] = {}
    first: float | None = None
    began = perf_counter()
    try:
        for chunk in llm.stream(prompt, {"configurable": {"cluster": {"cache": False}}}):
            if first is None and chunk.content:
                first = perf_counter() - began
            about = chunk.response_metadata.get("cluster") or about
    except Exception as error:  # whatever a provider raises
        return Called(perf_counter() - began, error=one_line(error))
    return Called(perf_counter() - began, first, about.get("endpoint"))


def _facts(done: Sequence[Called], seconds: float, failed: dict[str, int]) -> dict[str, Any]:
    answered = [each for each in done if each.error is None]
    served = {id: [each.seconds for each in answered if each.endpoint == id] for id in failed}
    return {
        "calls": len(done),
        "answered": len(answered),
        "failed": len(done) - len(answered),
        "seconds": seconds,
        "calls_per_second": len(done) / seconds,
        "whole": _quantiles([each.seconds for each in answered]),
        "first_token": _quantiles(
            [each.first_token_seconds for each in answered if each.first_token_seconds is not None]
        ),
        "endpoints": {
            id: {"answered": len(own), "failed": failed[id], **_quantiles(own)} for id, own in served.items()
        },
        "errors": dict(Counter(each.error for each in done if each.error is not None).most_common(5)),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """By nearest rank, so that each is a time that was measured."""
    ranked = sorted(values)
    return {name: ranked[ceil(q * len(ranked)) - 1] if ranked else None for name, q in QUANTILES.items()}


def _show(told: dict[str, Any], callers: int) -> None:
    screen = console()
    answered = f"{told['answered']} of {told['calls']} calls answered"
    rate = f"{callers} at once, {told['calls_per_second']:.1f} a second"
    screen.print(Text(f"{answered}, {told['attempts']} attempts, {rate}", style="bold"))
    for title, names in (("time of", ("whole", "first_token")), ("endpoint", tuple(told["endpoints"]))):
        table = Table()
        table.add_column(title, overflow="fold")
        counts = ("answered", "failed") if title == "endpoint" else ()
        for column in (*counts, *QUANTILES):
            table.add_column(column, justify="right")
        for name in names:
            facts = told["endpoints"][name] if counts else told[name]
            label = name if counts else {"whole": "the whole call", "first_token": "the first token"}[name]
            table.add_row(
                Text(clean(label)), *(str(facts[c]) for c in counts), *(_seconds(facts[q]) for q in QUANTILES)
            )
        screen.print(table)
    for error, count in told["errors"].items():
        complain(f"{count} × {error}")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"
