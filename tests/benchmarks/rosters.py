"""What a change in a registry costs, in ms: 200 endpoints come, change and go at random, under load.

    python tests/benchmarks/rosters.py [--json] [--endpoints 200] [--callers 4]

`read`: from the registry's entries to endpoints. `apply`: from a new roster to the pool's next snapshot, with
the events told. Both in CPU time of the thread that does it, which is not the one that answers calls; `apply`
by the clock too, where a caller may come between. While it is measured, callers take and settle leases.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import json
import time
from collections.abc import Sequence
from random import Random
from threading import Event, Thread

from langchain_cluster import EndpointFactory, NoEndpointAvailable, Outcome, Pool, StabilityPolicy
from langchain_cluster.discovery.entry import Entry
from langchain_cluster.discovery.known import Known
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.drive.rosters import Rosters

CHANGES = 600


def entry(number: int, weight: float) -> Entry:
    meta = {"model": "m", "weight": str(weight), "zone": "a"}
    return Entry(f"g{number}", f"10.0.{number // 250}.{number % 250 + 1}", 8000, meta, ("gpu",))


def called(pool: Pool, over: Event) -> None:
    while not over.is_set():
        try:
            pool.acquire().settle(Outcome.ok(seconds=0.01))
        except NoEndpointAvailable:
            pass
        over.wait(0.0005)


def run(endpoints: int, callers: int, balancer: str) -> dict[str, list[float]]:
    """Milliseconds of each change, by what was measured."""
    rng, clock, reading, known = Random(5), SystemClock(), Reading(), Known()
    pool = Pool([], balancer=balancer, clock=clock, seed=1)
    factory = EndpointFactory("openai:{model}", "http://{address}:{port}/v1", allow=["10.0.0.0/8"])
    rosters = Rosters(
        (), ["bench"], [False], pool, clock, lambda event: None, StabilityPolicy(), factory, None
    )
    there = dict.fromkeys(range(endpoints // 2), 1.0)
    over, taken = (
        Event(),
        {"read, cpu": list[float](), "apply, cpu": list[float](), "apply, clock": list[float]()},
    )
    threads = [Thread(target=called, args=(pool, over), daemon=True) for _ in range(callers)]
    for change in range(CHANGES):
        number = rng.randrange(endpoints)
        if number in there and rng.random() < 0.5:
            del there[number]
        else:
            there[number] = float(1 + change % 3)
        entries = [entry(each, weight) for each, weight in sorted(there.items())]
        cpu = time.thread_time()
        roster = known.settle(*reading.read(entries), began=known.answers)
        read = time.thread_time()
        assert roster is not None
        wall = time.perf_counter()
        rosters.take(0, roster)
        applied, ended = time.thread_time(), time.perf_counter()
        if change == 0:  # the whole roster at once, and nobody calls yet
            for thread in threads:
                thread.start()
            continue
        for name, seconds in zip(taken, (read - cpu, applied - read, ended - wall), strict=True):
            taken[name].append(seconds * 1000)
    over.set()
    for thread in threads:
        thread.join()
    return taken


def at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--callers", type=int, default=4)
    given = parser.parse_args()
    rows = {
        f"{balancer}: {name}": {"min": min(ms), "median": at(ms, 0.5), "p99": at(ms, 0.99), "max": max(ms)}
        for balancer in ("peak_ewma", "round_robin", "weighted", "consistent_hash")
        for name, ms in run(given.endpoints, given.callers, balancer).items()
    }
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'ms':32}" + "".join(f"{title:>9}" for title in ("min", "median", "p99", "max")))
    for name, row in rows.items():
        print(f"{name:32}" + "".join(f"{value:9.2f}" for value in row.values()))


if __name__ == "__main__":
    main()
