"""Chaos: seeded faults, kills, membership changes and cancellations, and every call accounted for.

    python -m tests.chaos.run --minutes 10 --seed 7 --callers 200

Real server processes that are moody (server.py), killed and stopped (trouble.py); callers of both colours,
streamed and whole (callers.py). What must hold is in `verdict`. The seed makes every choice; when each
takes effect is up to the machine. Ends with code 1 when anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from types import FrameType
from typing import Any

from langchain_openai import ChatOpenAI

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, OutlierPolicy, Policy
from langchain_cluster.balancer import PeakEwma
from langchain_cluster.model.call import Request
from langchain_cluster.model.events import CallEnded
from langchain_cluster.plan.tries import Tries
from langchain_cluster.pool.members import Lease
from langchain_cluster.testing.server_process import ServerProcess
from tests.chaos.callers import SLACK, Callers
from tests.chaos.ledger import ANSWERED, FAILED, LEFT, REFUSED, Ledger
from tests.chaos.server import checked
from tests.chaos.trouble import Trouble

SERVER = str(Path(__file__).with_name("server.py"))
RECOVERY = 30.0  # seconds until everybody who is well again is asked again
LONGEST = 6.0  # seconds a call may have
OURS = (Lease, Request, Tries)  # what one call is made of
# All of it is quicker than usual, as the trouble is.
BREAKER = BreakerPolicy(open_for=0.3, max_open=3.0)
OUTLIER = OutlierPolicy(ejection=1.0, max_ejection=3.0)
PATIENT = Policy(timeout=20.0, attempt_timeout=3.0)  # of the calls that see whether all is well again
RATE = 40.0 * (os.cpu_count() or 1)  # calls a second a busy machine bears, most of it the SDK's work
MEMORY = 60.0  # MB the second half of a run may add; a leak of 2 KB a call adds more in ten minutes


@dataclass
class Report:
    """What happened, and what was wrong with it."""

    seed: int
    ledger: Ledger
    trouble: Trouble
    stats: dict[str, Any] = field(default_factory=dict)
    told: int = 0  # CallEnded events
    memory: list[tuple[float, float]] = field(default_factory=list)  # (seconds, MB)
    seconds: float = 0.0
    lag: float = 0.0  # seconds the loop came too late at worst

    @property
    def wrong(self) -> list[str]:
        return self.ledger.wrong

    def rows(self) -> list[tuple[str, str]]:
        """The summary: what, and how much."""
        ledger, stats = self.ledger, self.stats
        counts = {how: ledger.count(how) for how in (ANSWERED, REFUSED, FAILED, LEFT)}
        asked = ledger.sent - counts[LEFT]
        return [
            ("seed", str(self.seed)),
            ("seconds", f"{self.seconds:.0f}"),
            ("sent", f"{ledger.sent}: " + ", ".join(f"{n} {way}" for way, n in sorted(ledger.ways.items()))),
            *((how, str(n)) for how, n in counts.items()),
            ("lost", str(ledger.lost)),
            ("answered of those who stayed", f"{counts[ANSWERED] / max(1, asked):.2%}"),
            ("longest call", f"{ledger.longest:.1f} s"),
            ("the loop was late by", f"{self.lag:.2f} s at worst"),
            ("failures", ", ".join(f"{n} {kind}" for kind, n in ledger.errors.most_common()) or "none"),
            ("attempts", str(stats.get("attempts"))),
            ("answers by", ", ".join(f"{id} {n}" for id, n in sorted(ledger.by.items()))),
            ("trouble", ", ".join(f"{n} {kind}" for kind, n in sorted(self.trouble.done.items()))),
            ("memory", ", ".join(f"{mb:.0f} MB at {at:.0f} s" for at, mb in _few(self.memory))),
            ("wrong", "nothing" if not self.wrong else f"{len(self.wrong)} things"),
        ]


def chaos(
    seconds: float,
    *,
    seed: int,
    callers: int,
    rate: float,
    endpoints: int = 6,
    tell: Callable[[float, Ledger, Trouble], None] = lambda *_: None,
) -> Report:
    """Run it and judge it; `tell` hears once a second how it goes."""
    sockets, threads, parts = _sockets(), set(threading.enumerate()), _parts()
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(f"gpu-{n}", seed * 1000 + n)) for n in range(endpoints)]
        for server in servers:
            server.wait_ready()
        models = [
            ChatOpenAI(base_url=server.openai_url, model=f"model-{n}", api_key="-", stream_usage=True)
            for n, server in enumerate(servers)
        ]
        pool = [Endpoint(f"gpu-{n}", model) for n, model in enumerate(models)]
        llm = ClusteredLLM(
            pool,
            breaker=BREAKER,
            outlier=OUTLIER,
            balancer=PeakEwma(decay=2.0),
            seed=seed,
            policy=PATIENT,
            drain_timeout=SLACK + LONGEST,
        )
        ledger = Ledger()
        trouble = Trouble(llm, pool, servers, ledger, seed)
        report = Report(seed, ledger, trouble)
        ended: list[None] = []
        llm.cluster.events.subscribe(lambda e: ended.append(None) if type(e) is CallEnded else None)
        names = {endpoint.id: f"model-{n}" for n, endpoint in enumerate(pool)}
        asking = Callers(llm, ledger, names, seed, rate=rate)
        began = time.monotonic()
        asking.start(callers // 2, callers - callers // 2)
        trouble.start()
        while (passed := time.monotonic() - began) < seconds:
            tell(passed, ledger, trouble)
            report.memory.append((passed, _megabytes()))
            time.sleep(min(1.0, seconds - passed))
        trouble.stop()
        stuck = asking.stop(within=LONGEST + SLACK)
        report.lag = asking.lag
        report.seconds = time.monotonic() - began
        for name in stuck:
            ledger.complain(f"{name} is stuck")
        after = recovers(llm, ledger)
        report.stats, report.told = llm.cluster.stats(), len(ended) - after
        report.stats["calls"] -= after
        report.stats["answered"] -= after
        members = [*llm.cluster.pool, *(m for m in trouble.gone if m is not None)]
        verdict(report, members)
        if not llm.cluster.close():
            ledger.complain(f"calls are still in flight after close: {llm.cluster!r}")
        asyncio.run(_close(models))
        # A blocked thread that was given up ends with its server, or with the read.
    rest = [t for t in threading.enumerate() if t not in threads]
    if not _eventually(lambda: not any(t.is_alive() for t in rest), LONGEST + SLACK):
        ledger.complain(f"threads are left: {[t.name for t in rest if t.is_alive()]}")
    del asking, members
    if not _eventually(lambda: _sockets() <= sockets, 5.0):
        ledger.complain(f"sockets are left: {_sockets()}, and {sockets} before")
    if not _eventually(lambda: not _parts() - parts, 5.0):
        held = "; ".join(_holders(one) for one in gc.get_objects() if isinstance(one, OURS))
        ledger.complain(f"parts of calls are left: {_parts() - parts}, held by {held}")
    return report


def recovers(llm: ClusteredLLM, ledger: Ledger) -> int:
    """When all is well again nothing fails, and soon everybody is asked. Returns how many calls it made."""
    missing = {member.endpoint.id for member in llm.cluster.pool}
    end, calls = time.monotonic() + RECOVERY, 0
    while missing and time.monotonic() < end:
        calls += 1
        text = f"well again {calls}"
        message = llm.invoke(text)
        if message.text != checked(text):
            ledger.complain(f"after the trouble: {message.text!r}")
        missing.discard(message.response_metadata["cluster"]["endpoint"])
    if missing:
        ledger.complain(f"after the trouble nobody asks {sorted(missing)}")
    return calls


def verdict(report: Report, members: list[Any]) -> None:
    """Every call is accounted for, by the callers and by the cluster alike."""
    ledger, stats = report.ledger, report.stats
    left = ledger.count(LEFT)

    def must(condition: bool, what: str) -> None:
        if not condition:
            counts = {name: count for name, count in stats.items() if name != "endpoints"}
            ledger.complain(f"{what}: {counts}, and the callers say {ledger.sent} sent, {left} left")

    must(ledger.lost == 0, f"{ledger.lost} calls never ended")
    must(stats["in_flight"] == 0, "calls are in flight")
    must(stats["answered"] + stats["failed"] + stats["abandoned"] == stats["calls"], "endings do not add up")
    must(report.told == stats["calls"], f"{report.told} events of calls that ended")
    must(ledger.sent - left <= stats["calls"] <= ledger.sent, "calls")
    answered, failed = ledger.count(ANSWERED), ledger.count(FAILED) + ledger.count(REFUSED)
    must(answered <= stats["answered"] <= answered + left, f"{answered} answers arrived")
    must(failed <= stats["failed"] <= failed + left, f"{failed} errors arrived")
    must(stats["abandoned"] <= left, "more were abandoned than left")
    for member in members:
        must(member.in_flight == 0, f"{member.endpoint.id} has {member.in_flight} in flight")
        must(not member.starts, f"{member.endpoint.id} still times calls")
    half = [mb for at, mb in report.memory if at >= report.seconds / 2]
    if half and half[-1] - half[0] > MEMORY:
        ledger.complain(f"memory grew from {half[0]:.0f} to {half[-1]:.0f} MB in the second half")


@contextmanager
def _server(name: str, seed: int) -> Iterator[ServerProcess]:
    server = ServerProcess(SERVER, "--name", name, "--seed", str(seed), name=name).start()
    try:
        yield server
    finally:
        server.close()


async def _close(models: list[ChatOpenAI]) -> None:
    for model in models:
        model.root_client.close()
        try:
            await model.root_async_client.close()
        except RuntimeError:
            pass  # its connections belong to the loop of the tasks, which is closed


def _sockets() -> int:
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:
            pass  # it was the directory's own
    return count


def _parts() -> Counter[str]:
    """What single calls are made of and is still referred to."""
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, OURS))


def _holders(one: object) -> str:
    """Who keeps it alive, and who keeps that: kinds, and functions of frames."""
    chain, seen = [type(one).__name__], {id(one)}
    while len(chain) < 9:
        others = [o for o in gc.get_referrers(one) if id(o) not in seen and type(o) is not list]
        others = [o for o in others if not (isinstance(o, FrameType) and o.f_code.co_filename == __file__)]
        if not others:
            break
        one = others[0]
        seen |= {id(o) for o in others} | {id(others)}
        code = getattr(one, "f_code", None) or getattr(one, "gi_code", None) or getattr(one, "cr_code", None)
        chain.append(f"{type(one).__name__} {getattr(code, 'co_qualname', '')}".strip())
    return " <- ".join(chain)


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _eventually(condition: Callable[[], bool], within: float) -> bool:
    end = time.monotonic() + within
    while not (held := condition()) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    return held


def _few(memory: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return memory[:: max(1, len(memory) // 4)]


def main() -> int:
    """Run it from a terminal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="of every choice; printed")
    parser.add_argument("--callers", type=int, default=200, help="half of them threads, half of them tasks")
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second that they begin")
    parser.add_argument("--endpoints", type=int, default=6)
    given = parser.parse_args()
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    seed = SystemRandom().randrange(10**6) if given.seed is None else given.seed
    console = Console()
    console.print(f"chaos for {given.minutes:g} minutes, {given.callers} callers, --seed {seed}")

    def line(passed: float, ledger: Ledger, trouble: Trouble) -> str:
        return (
            f"{passed:5.0f} s of {given.minutes * 60:.0f}: {ledger.sent} sent, "
            f"{ledger.count(ANSWERED)} answered, {ledger.count(REFUSED)} refused, "
            f"{ledger.count(FAILED)} failed, {ledger.count(LEFT)} left, "
            f"{sum(trouble.done.values())} pieces of trouble, {len(ledger.wrong)} wrong"
        )

    with Live(console=console, auto_refresh=False, transient=True) as live:
        report = chaos(
            given.minutes * 60,
            seed=seed,
            callers=given.callers,
            rate=given.rate,
            endpoints=given.endpoints,
            tell=lambda *now: live.update(line(*now), refresh=True),
        )
    table = Table("what", "how much")
    for row in report.rows():
        table.add_row(*row)
    console.print(table)
    for what in report.wrong[:20]:
        console.print(f"WRONG: {what}", style="red", markup=False)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
