"""What a closed circuit breaker costs, in ns, and what some of them let through, beside other libraries.

    python tests/benchmarks/breaker.py [--json]

A call of a function that does nothing, bare and guarded in each library's own way, blocking and awaited, and
reading the breaker's state: CPU time of the process, the best of several rounds in which all take turns. Then
three counts that no machine changes: how many of 100 callers (threads, tasks) reach a backend that is being
probed before it has answered, and how many of 8 calls are under way at the same time. Libraries that are
not installed are left out. In Go: what the projects this library follows measured, on another machine.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import asyncio
import json
import time
import timeit
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from threading import Barrier, Lock, Thread
from typing import Any

from langchain_cluster import BreakerPolicy, CircuitBreaker, Verdict

Sync = Callable[[Callable[[], Any]], Callable[[], Any]]
Async = Callable[[Callable[[], Awaitable[Any]]], Callable[[], Awaitable[Any]]]
PAUSE = 0.05  # seconds until a probe is let through, where something is let through


@dataclass
class Subject:
    """How to guard a function, a coroutine, and how to read the state; None where it cannot."""

    sync: Sync | None = None
    coroutine: Async | None = None
    state: Callable[[], Any] | None = None


def ours(opens_at: int) -> Subject:
    policy = BreakerPolicy(consecutive_failures=opens_at, open_for=PAUSE, max_open=PAUSE)
    breaker = CircuitBreaker(policy)
    return Subject(breaker, breaker, lambda: breaker.state)


def as_block(opens_at: int) -> Subject:
    return block(opens_at, lambda breaker: breaker)


def as_hold(opens_at: int) -> Subject:
    return block(opens_at, lambda breaker: breaker.hold())


def block(opens_at: int, held: Callable[[CircuitBreaker], Any]) -> Subject:
    policy = BreakerPolicy(consecutive_failures=opens_at, open_for=PAUSE, max_open=PAUSE)
    breaker = CircuitBreaker(policy)

    def sync(function: Callable[[], Any]) -> Callable[[], Any]:
        def guarded() -> Any:
            with held(breaker):
                return function()

        return guarded

    def coroutine(function: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def guarded() -> Any:
            async with held(breaker):
                return await function()

        return guarded

    return Subject(sync, coroutine)


def by_hand(opens_at: int) -> Subject:
    """As a pool does it: the time is at hand, and the permit is kept in a lease."""
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=opens_at, open_for=PAUSE, max_open=PAUSE))

    def sync(function: Callable[[], Any]) -> Callable[[], Any]:
        now, acquire, record, ok = time.monotonic(), breaker.try_acquire, breaker.record, Verdict.OK

        def guarded() -> Any:
            permit = acquire(now)
            value = function()
            if permit is not None:
                record(permit, ok, now, 0.0)
            return value

        return guarded

    return Subject(sync)


def pybreaker(opens_at: int) -> Subject:
    breaker = import_module("pybreaker").CircuitBreaker(fail_max=opens_at, reset_timeout=PAUSE)
    return Subject(breaker, None, lambda: breaker.current_state)


def circuitbreaker(opens_at: int) -> Subject:
    breaker = import_module("circuitbreaker").CircuitBreaker(opens_at, PAUSE)
    return Subject(breaker, breaker, lambda: breaker.state)


def purgatory(opens_at: int) -> Subject:
    library = import_module("purgatory")
    blocking = library.SyncCircuitBreakerFactory(default_threshold=opens_at, default_ttl=PAUSE)
    awaited = library.AsyncCircuitBreakerFactory(default_threshold=opens_at, default_ttl=PAUSE)
    return Subject(blocking("x"), awaited("x"))


def aiobreaker(opens_at: int) -> Subject:
    breaker = import_module("aiobreaker").CircuitBreaker(opens_at, timedelta(seconds=PAUSE))
    return Subject(None, breaker(), lambda: breaker.current_state)


def hyx(opens_at: int) -> Subject:
    library = import_module("hyx.circuitbreaker")
    breaker = library.consecutive_breaker(
        failure_threshold=opens_at, recovery_time_secs=PAUSE, recovery_threshold=1
    )
    return Subject(None, breaker)


SUBJECTS: dict[str, tuple[str | None, Callable[[int], Subject]]] = {
    "bare call": (None, lambda _: Subject(lambda function: function, lambda function: function)),
    "CircuitBreaker, decorator": (None, ours),
    "CircuitBreaker, with block": (None, as_block),
    "CircuitBreaker, with hold()": (None, as_hold),
    "CircuitBreaker, as a pool uses it": (None, by_hand),
    "circuitbreaker": ("circuitbreaker", circuitbreaker),
    "pybreaker": ("pybreaker", pybreaker),
    "purgatory": ("purgatory", purgatory),
    "aiobreaker": ("aiobreaker", aiobreaker),
    "hyx": ("hyx", hyx),
}
GO = {"sync": 51.0, "state": 2.3}
COLUMNS = ("sync", "async", "state", "threads of 100", "tasks of 100", "of 8 at once")


def nothing() -> None:
    pass


async def nothing_awaited() -> None:
    pass


def timed(call: Callable[[], Any], number: int) -> float:
    return timeit.timeit(call, timer=time.process_time, number=number) / number * 1e9


def timed_async(call: Callable[[], Awaitable[Any]], number: int) -> float:
    async def loop() -> float:
        began = time.process_time()
        for _ in range(number):
            await call()
        return time.process_time() - began

    return asyncio.run(loop()) / number * 1e9


def run(work: Callable[[], Any], threads: int) -> None:
    start = Barrier(threads)

    def begin() -> None:
        start.wait()
        with suppress(Exception):
            work()

    running = [Thread(target=begin) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


class Backend:
    """Fails first, and then counts who asks, and how many do so at the same time."""

    def __init__(self, *, well: bool) -> None:
        self.well, self.answered, self.asked, self.inside, self.most = well, False, 0, 0, 0
        self.lock = Lock()

    def enter(self) -> None:
        if not self.well:
            raise ConnectionError
        with self.lock:
            self.asked += not self.answered
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            self.answered = True

    def ask(self) -> None:
        self.enter()
        time.sleep(0.2)
        self.leave()

    async def aask(self) -> None:
        self.enter()
        await asyncio.sleep(0.2)
        self.leave()


def threads_let_through(guard: Sync) -> int:
    backend = Backend(well=False)
    guarded = guard(backend.ask)
    for _ in range(2):
        with suppress(Exception):
            guarded()
    backend.well = True
    time.sleep(2 * PAUSE)
    run(guarded, 100)
    return backend.asked


async def tasks_let_through(guard: Async) -> int:
    backend = Backend(well=False)
    guarded = guard(backend.aask)
    for _ in range(2):
        with suppress(Exception):
            await guarded()
    backend.well = True
    await asyncio.sleep(2 * PAUSE)
    await asyncio.gather(*(guarded() for _ in range(100)), return_exceptions=True)
    return backend.asked


def at_once(guard: Sync) -> int:
    backend = Backend(well=True)
    run(guard(backend.ask), 8)
    return backend.most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=9, help="rounds per figure")
    parser.add_argument("--number", type=int, default=20_000, help="calls per round")
    args = parser.parse_args()
    kinds = {}
    for name, (module, make) in SUBJECTS.items():
        if module is None or find_spec(module) is not None:
            kinds[name] = make
        else:
            print(f"{name} is not installed: left out", file=sys.stderr)
    table: dict[str, dict[str, float]] = {name: {} for name in kinds}
    made = {name: make(2) for name, make in kinds.items()}
    calls = {name: subject.sync(nothing) for name, subject in made.items() if subject.sync}
    acalls = {name: subject.coroutine(nothing_awaited) for name, subject in made.items() if subject.coroutine}
    states = {name: subject.state for name, subject in made.items() if subject.state}
    floor = min(timed(lambda: None, args.number) for _ in range(args.rounds))
    for _ in range(args.rounds):
        for column, kind in (("sync", calls), ("state", states)):
            for name, call in kind.items():
                row = table[name]
                row[column] = min(row.get(column, 1e12), timed(call, args.number))
        for name, acall in acalls.items():
            table[name]["async"] = min(table[name].get("async", 1e12), timed_async(acall, args.number))
    for row in table.values():  # what it costs to call the function that reads the state is not of interest
        if "state" in row:
            row["state"] = max(0.0, row["state"] - floor)
    for name, make in kinds.items():
        if name in ("bare call", "CircuitBreaker, as a pool uses it"):
            continue
        if (sync := make(2).sync) is not None:
            table[name]["threads of 100"] = threads_let_through(sync)
        if (fresh := make(100).sync) is not None:
            table[name]["of 8 at once"] = at_once(fresh)
        if (coroutine := make(2).coroutine) is not None:
            table[name]["tasks of 100"] = asyncio.run(tasks_let_through(coroutine))
    table["in Go"] = GO
    if args.json:
        print(json.dumps({"unit": "ns, and counts of callers", "breakers": table}, indent=2))
        return
    print(f"{'':<36}" + "".join(f"{column:>16}" for column in COLUMNS))
    for name, row in table.items():
        shown = "".join(f"{row[c]:>16.0f}" if c in row else f"{'':>16}" for c in COLUMNS)
        print(f"{name:<36}{shown}")


if __name__ == "__main__":
    main()
