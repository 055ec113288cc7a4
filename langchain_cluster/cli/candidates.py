"""The view of `route CONFIG`: which endpoints would serve a request, why the others not, and the shares.

No model is called. The shares are those of a simulation in which all endpoints answer equally fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from langchain_cluster.cli.screen import clean, console, print_json
from langchain_cluster.cluster import Cluster
from langchain_cluster.config.build import cluster_arguments
from langchain_cluster.config.load import load
from langchain_cluster.model.call import Request
from langchain_cluster.pool import Member, Pool
from langchain_cluster.pool.match import lacks
from langchain_cluster.testing.simulated.latency import LogNormal
from langchain_cluster.testing.simulation import ClosedLoop, simulate

ANSWER = LogNormal(1.0, 0.5)  # seconds; only how they compare matters
BUSY = 4  # calls in flight per endpoint, while shares are measured; one alone for a single session
Serves = Literal["yes", "standby", "no"]
_STYLES: dict[Serves, str] = {"yes": "green", "standby": "yellow", "no": "red"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One endpoint: whether it would serve the request, why not or only later, and its part of `picks`."""

    id: str
    serves: Serves
    why: str
    share: float


def candidates(pool: Pool, request: Request, shares: dict[str, float]) -> list[Candidate]:
    """All endpoints of a pool, in order, as `request` sees them."""
    left = {m.endpoint.id: lacks(m.endpoint, request) or m.why_not(0.0) for m in pool}  # all are new
    able = [m for m in pool if left[m.endpoint.id] is None]
    first = min((m.endpoint.priority for m in able), default=0)
    in_zone = pool.snapshot.zoned and any(
        m.endpoint.zone == request.zone for m in able if m.endpoint.priority == first
    )

    def judged(member: Member) -> tuple[Serves, str]:
        endpoint, why = member.endpoint, left[member.endpoint.id]
        if why is not None:
            return "no", why
        if endpoint.priority > first:
            return "standby", f"priority {endpoint.priority}: when those of {first} cannot carry the load"
        if request.zone is not None and in_zone and endpoint.zone != request.zone:
            return "standby", f"zone {endpoint.zone or 'unknown'}: when nobody in {request.zone} can answer"
        return "yes", ""

    return [Candidate(m.endpoint.id, *judged(m), shares.get(m.endpoint.id, 0.0)) for m in pool]


def show_candidates(file: str, request: Request, *, picks: int, as_json: bool) -> bool:
    """Show them; whether anybody would serve the request."""
    config = load(file)
    cluster = Cluster(**cluster_arguments(config))
    endpoints = [member.endpoint for member in cluster.pool]
    result = simulate(
        endpoints,
        balancer=config.balancer.make(),
        service=ANSWER,
        arrivals=ClosedLoop(1 if request.key is not None else max(1, BUSY * len(endpoints))),
        calls=picks,
        request=lambda number, rng: request,
        breaker=None,
    )
    found = candidates(cluster.pool, request, {e.id: result.share(e.id) for e in endpoints})
    ok = any(candidate.serves != "no" for candidate in found)
    if as_json:
        print_json(_told(file, config.balancer.kind, picks, ok, found))
        return ok
    screen = console()
    table = Table()
    for title, justify in (("endpoint", "left"), ("serves", "left"), ("share", "right"), ("why", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for each in found:
        share = f"{each.share:.1%}" if each.share else "-"
        style = _STYLES[each.serves]
        table.add_row(escape(clean(each.id)), f"[{style}]{each.serves}[/]", share, escape(clean(each.why)))
    screen.print(table)
    if ok:
        screen.print(f"[dim]shares of {picks} calls by {config.balancer.kind}, if all answer equally fast[/]")
    else:
        screen.print("[red]nobody would serve this request[/]")
    return ok


def _told(file: str, balancer: str, picks: int, ok: bool, found: Sequence[Candidate]) -> dict[str, Any]:
    return {
        "file": file,
        "ok": ok,
        "balancer": balancer,
        "picks": picks,
        "endpoints": [
            {"id": each.id, "serves": each.serves, "why": each.why or None, "share": each.share}
            for each in found
        ],
    }
