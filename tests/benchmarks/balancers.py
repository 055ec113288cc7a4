"""What a pick costs, in ns, for every balancer among 10, 100 and 1000 endpoints.

    python tests/benchmarks/balancers.py [--json] [--in-flight 5]

Measured is `balancer.pick` on a snapshot's candidates, the best of several rounds in one process. Beside
it: an empty function called with the same arguments (the floor of this machine), the same in Go (the
projects this library follows measured theirs once, at one size, on another machine), a naive scan for the
least busy, and uhashring where it is installed. With `--in-flight` every endpoint has so many calls,
which is when a bounded hash has to count them.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import json
import timeit
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any

from langchain_cluster import Endpoint, Pool, Request
from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.testing import FakeClock

SIZES = (10, 100, 1000)
GO = {"round_robin": 25, "least_connections": 82, "consistent_hash": 165, "adaptive": 183}
PREFIX = "You are a careful assistant that answers in one sentence. " * 20


class Nothing:
    name = "empty call"

    def pick(self, candidates: Any, request: Any, now: float, rng: Random) -> Any:
        return None


class Scan:
    name = "naive scan"

    def pick(self, candidates: Any, request: Any, now: float, rng: Random) -> Any:
        return min(candidates, key=lambda member: member.in_flight / member.weight)


class Uhashring:
    name = "uhashring"

    def __init__(self, candidates: Any) -> None:
        self.ring = import_module("uhashring").HashRing([member.endpoint.id for member in candidates])

    def pick(self, candidates: Any, request: Any, now: float, rng: Random) -> Any:
        return self.ring.get_node(request.key)


def made(name: str, candidates: Any) -> Any:
    return BALANCERS[name]()


def members(n: int, in_flight: int) -> Any:
    pool = Pool([Endpoint(f"e{i}") for i in range(n)], clock=FakeClock(), seed=1)
    for i, member in enumerate(pool):
        member.in_flight = in_flight
        member.ewma_seconds, member.ewma_at = 0.2 + i % 7 / 10, 999.0
    return pool.snapshot.ready


def subjects(with_uhashring: bool) -> dict[str, Callable[[Any], Any]]:
    found: dict[str, Callable[[Any], Any]] = {"empty call": lambda _: Nothing()}
    for name in BALANCERS:
        found[name] = partial(made, name)
    found["naive scan"] = lambda _: Scan()
    if with_uhashring:
        found["uhashring"] = Uhashring
    return found


def nanoseconds(balancer: Any, candidates: Any, rounds: int, seconds: float) -> float:
    """The best of several rounds that ask for changing keys and prefixes."""
    requests = [Request(key=f"session-{i}", prefix=f"{i} {PREFIX}") for i in range(32)]
    statement = "\n".join(f"pick(c, r{i}, 1000.5, rng)" for i in range(len(requests)))
    names: dict[str, Any] = {f"r{i}": request for i, request in enumerate(requests)}
    names |= {"pick": balancer.pick, "c": candidates, "rng": Random(7)}
    timer = timeit.Timer(
        statement, globals=names | {"pick": balancer.pick, "c": candidates, "rng": Random(7)}
    )
    timer.timeit(2)  # tables are made
    once = timer.timeit(1) or 1e-6
    number = max(1, int(seconds / once))
    return min(timer.repeat(rounds, number)) / number / len(requests) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=9, help="rounds per figure")
    parser.add_argument("--seconds", type=float, default=0.05, help="seconds per round")
    parser.add_argument("--in-flight", type=int, default=0, help="calls in flight on every endpoint")
    args = parser.parse_args()
    if find_spec("uhashring") is None:
        print("uhashring is not installed: left out", file=sys.stderr)
        kinds = subjects(False)
    else:
        kinds = subjects(True)
    table: dict[str, dict[str, float | None]] = {}
    for name, make in kinds.items():
        row: dict[str, float | None] = {}
        for n in SIZES:
            candidates = members(n, args.in_flight)
            row[str(n)] = round(nanoseconds(make(candidates), candidates, args.rounds, args.seconds), 1)
        table[name] = row | {"go": GO.get(name)}
    if args.json:
        print(json.dumps({"unit": "ns per pick", "in_flight": args.in_flight, "balancers": table}, indent=2))
        return
    print(f"{'ns per pick':<20}" + "".join(f"{n:>10}" for n in SIZES) + f"{'in Go':>10}")
    for name, row in table.items():
        figures = "".join(f"{row[str(n)]:>10.0f}" for n in SIZES)
        print(f"{name:<20}{figures}{row['go'] or '':>10}")


if __name__ == "__main__":
    main()
