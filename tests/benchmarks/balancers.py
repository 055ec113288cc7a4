"""What a pick costs, in ns, for every balancer among 10, 100 and 1000 endpoints.

    python tests/benchmarks/balancers.py [--json] [--in-flight 5]

Measured is what the pool does to pick: the function its balancer has prepared for the snapshot, the best
of several rounds in one process. Beside it: an empty function called with the same arguments (the floor
of this machine), the same in Go (the projects this library follows measured theirs once, at one size, on
another machine), a naive scan for the least busy, and uhashring where it is installed. Then what stands
around a pick: a whole `acquire` and `settle`, and what is done once for a thousand endpoints, when a
roster comes in and when one of them goes and comes back. With `--in-flight` every endpoint has so many
calls, which is when a bounded hash has to know how many all have.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import json
import time
import timeit
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from langchain_cluster import Endpoint, Outcome, Pool, Request
from langchain_cluster.balancer.prefix_affinity import PrefixAffinity
from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.testing import FakeClock

SIZES = (10, 100, 1000)
GO = {"round_robin": 25, "least_connections": 82, "consistent_hash": 165, "adaptive": 183}
PREFIX = "You are a careful assistant that answers in one sentence. " * 20
DIGEST_OF = PrefixAffinity().digest_of
REQUESTS = [
    Request(key=f"session-{i}", prefix=f"{i} {PREFIX}", prefix_digest=DIGEST_OF(f"{i} {PREFIX}", None))
    for i in range(32)
]

Row = dict[str, float | None]


def named(i: int) -> Endpoint:
    return Endpoint(f"e{i}", tags=() if i % 2 else {"even"})


def pool_of(n: int, balancer: str, in_flight: int) -> Pool:
    """Endpoints that answered at different times, with so many calls in flight each."""
    pool = Pool([named(i) for i in range(n)], balancer=balancer, clock=FakeClock(1000.5), seed=1)
    for i, member in enumerate(pool):
        member.in_flight = in_flight
        member.peers.in_flight += in_flight
        member.ewma_seconds, member.ewma_at = 0.2 + i % 7 / 10, 999.0 + i % 13 / 100
    return pool


def empty(request: Request, now: float) -> None:
    return None


def scanning(pool: Pool) -> Callable[[Request, float], Any]:
    members = pool.snapshot.ready

    def scan(request: Request, now: float) -> Any:
        return min(members, key=lambda member: member.in_flight / member.weight)

    return scan


def uhashring(pool: Pool) -> Callable[[Request, float], Any]:
    ring = import_module("uhashring").HashRing([member.endpoint.id for member in pool])

    def node(request: Request, now: float) -> Any:
        return ring.get_node(request.key)

    return node


def nanoseconds(statement: str, names: dict[str, Any], rounds: int, seconds: float) -> float:
    """Of `statement`, where `r_` is another request each time; the best of several rounds."""
    lines = [statement.replace("r_", f"r{i}") for i in range(len(REQUESTS))]
    names |= {f"r{i}": request for i, request in enumerate(REQUESTS)}
    timer = timeit.Timer("\n".join(lines), globals=names)
    timer.timeit(40)  # what is worked out once is
    number = max(1, int(seconds / (timer.timeit(3) / 3)))
    return round(min(timer.repeat(rounds, number)) / number / len(REQUESTS) * 1e9, 1)


def picks(rounds: int, seconds: float, in_flight: int) -> dict[str, Row]:
    def measured(choose: Callable[..., Any]) -> float:
        return nanoseconds("choose(r_, 1000.5)", {"choose": choose}, rounds, seconds)

    table: dict[str, Row] = {"empty call": {str(n): measured(empty) for n in SIZES}}
    for name in BALANCERS:
        row = table[name] = {}
        for n in SIZES:
            snapshot = pool_of(n, name, in_flight).snapshot
            if snapshot.turn is not None:
                row[str(n)] = nanoseconds("snapshot.turn()", {"snapshot": snapshot}, rounds, seconds)
            else:
                assert snapshot.choose is not None
                row[str(n)] = measured(snapshot.choose)
    # What a call's request brings along, so that no pick has to work it out.
    digest = nanoseconds("digest_of(r_.prefix, None)", {"digest_of": DIGEST_OF}, rounds, seconds)
    table["a prefix's digest"] = {str(n): digest for n in SIZES}
    others = {"naive scan": scanning}
    if find_spec("uhashring") is None:
        print("uhashring is not installed: left out", file=sys.stderr)
    else:
        others["uhashring"] = uhashring
    for name, make in others.items():
        table[name] = {str(n): measured(make(pool_of(n, "round_robin", in_flight))) for n in SIZES}
    for name, row in table.items():
        row["go"] = GO.get(name)
    return table


def leases(rounds: int, seconds: float, in_flight: int) -> dict[str, Row]:
    """`acquire` and `settle` under the default balancer: of anybody, and of the half that has a tag."""
    rows: dict[str, Row] = {"acquire and settle": {}, "with a tag": {}}
    for n in SIZES:
        pool = pool_of(n, "peak_ewma", in_flight)
        tagged = Request(tags=frozenset({"even"}))
        names = {"acquire": pool.acquire, "answer": Outcome.ok(seconds=0.2), "tagged": tagged}
        for name, asked in zip(rows, ("r_", "tagged"), strict=True):
            statement = f"acquire({asked}).settle(answer)"
            rows[name][str(n)] = nanoseconds(statement, names, rounds, seconds)
    return rows


def snapshots(n: int = 1000) -> dict[str, dict[str, float]]:
    """Milliseconds per balancer: until a roster of `n` is published, and until one that left is back."""
    table = {}
    for name in BALANCERS:
        rosters, turns = [], []
        for run in range(3):
            pool = Pool(balancer=name, clock=FakeClock(), seed=1)
            endpoints = [Endpoint(f"{name}-{run}-{i}") for i in range(n)]
            begun = time.perf_counter()
            pool.replace(endpoints)
            rosters.append(time.perf_counter() - begun)
            for endpoint in endpoints[:5]:
                begun = time.perf_counter()
                pool.drain(endpoint.id)
                turns.append(time.perf_counter() - begun)
                pool.undrain(endpoint.id)
        table[name] = {"roster": round(min(rosters) * 1e3, 1), "one leaves": round(min(turns) * 1e3, 1)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=9, help="rounds per figure")
    parser.add_argument("--seconds", type=float, default=0.03, help="seconds per round")
    parser.add_argument("--in-flight", type=int, default=0, help="calls in flight on every endpoint")
    args = parser.parse_args()
    snapshot = snapshots()  # before anything is known of its endpoints
    table = picks(args.rounds, args.seconds, args.in_flight)
    whole = leases(args.rounds, args.seconds, args.in_flight)
    if args.json:
        found = {"picks_ns": table, "leases_ns": whole, "snapshot_of_1000_ms": snapshot}
        print(json.dumps({"in_flight": args.in_flight} | found, indent=2))
        return
    print(f"{'ns per pick':<24}" + "".join(f"{n:>9}" for n in SIZES) + f"{'in Go':>9}")
    for name, row in [*table.items(), *whole.items()]:
        figures = "".join(f"{row[str(n)]:>9.0f}" for n in SIZES)
        print(f"{name:<24}{figures}{row.get('go') or '':>9}")
    print(f"\n{'snapshot of 1000, ms':<24}{'roster':>9}{'one leaves':>12}")
    for name, times in snapshot.items():
        print(f"{name:<24}{times['roster']:>9.1f}{times['one leaves']:>12.1f}")


if __name__ == "__main__":
    main()
