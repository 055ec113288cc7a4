"""The demo, act by act: what is done, what is waited for, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from rich.text import Text

from langchain_cluster import ClusteredLLM
from langchain_cluster.cli.demo.board import Board, seconds
from langchain_cluster.cli.demo.questions import questions
from langchain_cluster.cli.demo.screen import Screen
from langchain_cluster.cli.demo.setting import QUICK, REAL, Pace, make_llm, make_servers
from langchain_cluster.cli.demo.summary import NEXT, Summary
from langchain_cluster.cli.demo.tally import Tally
from langchain_cluster.cli.demo.trace import telling_trace, tree
from langchain_cluster.cli.demo.traffic import Traffic
from langchain_cluster.testing.server_process import ServerProcess

LOADED_WITHIN = 60.0  # seconds a server has to become healthy
PATIENCE = 30.0  # seconds within which the cluster has to do what it promises
REPEATED = 8  # questions asked again
LOOK = 0.02  # seconds between two looks


@dataclass(slots=True)
class Stage:
    """What the acts share."""

    servers: dict[str, ServerProcess]
    llm: ClusteredLLM
    spans: InMemorySpanExporter
    screen: Screen
    board: Board
    tally: Tally
    pace: Pace
    summary: Summary

    def now(self) -> float:
        """The cluster's own clock, which its events carry."""
        return float(self.llm.cluster.clock.now())


async def play(console: Console, *, simulated: bool, picture: Path | None = None) -> Summary:
    """The whole demo. Whatever ends it, the servers end with it."""
    began = monotonic()
    screen = Screen(console, picture=picture is not None)
    pace = QUICK if simulated else REAL
    async with AsyncExitStack() as stack:
        servers = make_servers(simulated=simulated)
        for server in servers.values():
            stack.callback(server.close)
        await start(servers, screen, simulated=simulated)
        llm, spans = make_llm(servers, pace, simulated=simulated)
        # Entered last, left first; nothing is in flight any more, unless somebody pressed Ctrl-C.
        stack.callback(llm.cluster.close, drain_timeout=0.0)
        tally = Tally(llm.cluster.clock.now)
        board = Board(llm, servers, tally)
        stage = Stage(servers, llm, spans, screen, board, tally, pace, Summary(simulated))
        llm.cluster.events.subscribe(tally.hear)
        await with_traffic(stage)
        await ask_again(stage)
        show_a_trace(stage)
        close(stage, monotonic() - began)
    screen.show(stage.summary.draw(), above=True)
    if picture is not None:
        screen.save(picture)
    screen.console.print()
    screen.console.print(Text(NEXT), soft_wrap=True)
    return stage.summary


async def until(condition: Callable[[], object], within: float = PATIENCE) -> bool:
    """Wait until it holds, at most `within` seconds; whether it does."""
    end = monotonic() + within
    while not condition():
        if monotonic() >= end:
            return False
        await asyncio.sleep(LOOK)
    return True


async def start(servers: dict[str, ServerProcess], screen: Screen, *, simulated: bool) -> None:
    """Act 1."""
    kind = "simulated model servers" if simulated else "llama.cpp servers with SmolLM2 135M, one thread each"
    screen.act(f"1. Starting three {kind}")
    for server in servers.values():
        server.start()
    with screen.console.status("   loading ..."):
        await asyncio.gather(*(loaded(name, server, screen) for name, server in servers.items()))


async def loaded(name: str, server: ServerProcess, screen: Screen) -> None:
    """Wait until a server is healthy, and say so. Raises TimeoutError, or RuntimeError when it ended."""
    began = monotonic()
    while not await asyncio.to_thread(server.ready):
        server.check()
        if monotonic() - began > LOADED_WITHIN:
            raise TimeoutError(f"{name} is not ready after {LOADED_WITHIN:g} s: {server.said()}")
        await asyncio.sleep(LOOK)
    screen.say(f"{name} answers at {server.url} (process {server.pid}, {monotonic() - began:.1f} s)")


async def with_traffic(stage: Stage) -> None:
    """Acts 2 to 4, while questions flow."""
    screen, pace = stage.screen, stage.pace
    screen.act(f"2. One ClusteredLLM over the three, {pace.at_once} questions at a time")
    with screen.watching(stage.board):
        traffic = Traffic(stage.llm, questions(), stage.tally, screen)
        async with asyncio.TaskGroup() as group:
            drawing = group.create_task(screen.redrawing())
            flows = [group.create_task(traffic.flow()) for _ in range(pace.at_once)]
            await asyncio.sleep(pace.steady)
            victim = await kill_one(stage)
            await bring_it_back(stage, victim)
            traffic.stop()
            await asyncio.gather(*flows)
            drawing.cancel()


def busiest(stage: Stage) -> tuple[str, int]:
    """The endpoint with the most calls in flight, and how many those are."""
    member = max(stage.llm.cluster.pool, key=lambda member: int(member.in_flight))
    return member.endpoint.id, member.in_flight


async def kill_one(stage: Stage) -> str:
    """Act 3: the busiest one."""
    screen, tally, summary = stage.screen, stage.tally, stage.summary
    await until(lambda: busiest(stage)[1] >= 2)
    victim, in_flight = busiest(stage)
    killed = stage.now()
    stage.servers[victim].kill()
    summary.killed, summary.in_flight_when_killed = victim, in_flight
    screen.act(f"3. kill -9 of {victim}, with {in_flight} calls in flight on it")
    if await until(lambda: tally.turned(victim, "open", killed)):
        opened = tally.turned(victim, "open", killed)
        assert opened is not None
        summary.opened_after_seconds = opened.at - killed
        screen.say(f"its circuit opened after {seconds(opened.at - killed)}: {opened.reason}")
    await asyncio.sleep(stage.pace.down)
    moved = sum(told.attempts > 1 for told in tally.told)
    screen.say(f"{len(tally.errors)} calls failed; {moved} were answered by another server at once")
    screen.photograph()
    return victim


async def bring_it_back(stage: Stage, victim: str) -> None:
    """Act 4."""
    screen, tally, summary = stage.screen, stage.tally, stage.summary
    server = stage.servers[victim]
    screen.act(f"4. {victim} is started again, on the same port")
    restarted = stage.now()
    stage.board.loading.add(victim)
    server.start()
    await loaded(victim, server, screen)
    stage.board.loading.discard(victim)
    if await until(lambda: tally.turned(victim, "closed", restarted)):
        closed = tally.turned(victim, "closed", restarted)
        assert closed is not None
        summary.closed_after_seconds = closed.at - restarted
        screen.say(f"circuit half open: one call was let through to probe it; {closed.reason}: closed")
    summary.probes = sum(e.endpoint == victim and e.state == "half_open" for e in tally.circuits)
    member = stage.llm.cluster.pool.get(victim)
    assert member is not None
    before = member.served
    if await until(lambda: member.served >= before + 2):
        screen.say(f"{victim} takes its share again")
    await asyncio.sleep(stage.pace.back)


async def ask_again(stage: Stage) -> None:
    """Act 5."""
    screen, summary = stage.screen, stage.summary
    screen.act("5. The same questions again: answered from the cache")
    whole = [told for told in stage.tally.told if told.whole][-REPEATED:]
    took = []
    for told in whole:
        began = perf_counter()
        try:
            message = await stage.llm.ainvoke(told.question)
        except Exception as error:
            stage.tally.failed(told.question, error)
            continue
        took.append(perf_counter() - began)
        if message.response_metadata["cluster"]["cache"] == "memory":
            summary.cache_hits += 1
    if took:
        summary.hit_p50_seconds = median(took)
        first = median(told.seconds for told in whole)
        screen.say(
            f"{summary.cache_hits} of {len(whole)} were hits, {seconds(median(took))} each"
            f" instead of {seconds(first)}"
        )
    summary.promises["a repeated question is answered from the cache"] = (
        summary.cache_hits == len(whole) and summary.cache_hits > 0
    )


def show_a_trace(stage: Stage) -> None:
    """Act 6."""
    stage.screen.act("6. The trace of one call, as OpenTelemetry got it")
    call = telling_trace(stage.spans.get_finished_spans())
    if call:
        stage.screen.show(tree(call))
    stage.summary.promises["every call leaves a trace"] = bool(call)


def close(stage: Stage, took: float) -> None:
    """Act 7: add up, and hold the counts against the promises."""
    tally, summary = stage.tally, stage.summary
    stats = stage.llm.cluster.stats()
    summary.calls, summary.answered, summary.attempts = stats["calls"], stats["answered"], stats["attempts"]
    summary.failed = len(tally.errors)
    summary.failed_over = sum(told.attempts > 1 for told in tally.told)
    summary.output_tokens, summary.seconds = tally.tokens, took
    summary.p50_seconds = median(told.seconds for told in tally.told) if tally.told else None
    summary.errors = tally.errors
    agreed = summary.calls == len(tally.told) + summary.failed + summary.cache_hits
    summary.promises = {
        "no call failed": not tally.errors and stats["failed"] == 0 and bool(tally.told),
        "calls in flight on the killed server were answered elsewhere": summary.failed_over > 0,
        "its circuit opened": summary.opened_after_seconds is not None,
        "a probe found it well again, and the circuit closed": summary.closed_after_seconds is not None,
        **summary.promises,
        "the cluster counted what we counted": agreed,
    }
