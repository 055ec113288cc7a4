"""`top`: a running cluster at a glance, over and over; another program's, or one in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from langchain_cluster.admin.rules import TOKEN_ENV
from langchain_cluster.admin.view import View
from langchain_cluster.cli import watching
from langchain_cluster.cli.endpoints import HERE
from langchain_cluster.cli.lines import Lines
from langchain_cluster.cli.remote import Remote
from langchain_cluster.cli.screen import clean, console, print_json

EPILOG = "Example:\n\nlangchain-cluster top http://127.0.0.1:9465"


def top(
    url: Annotated[str, typer.Argument(metavar="[URL]", help="Where an admin app is.")] = HERE,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and leave.")] = False,
    token_env: Annotated[
        str, typer.Option(metavar="NAME", help="The variable that holds the admin app's token.")
    ] = TOKEN_ENV,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one look.")] = False,
) -> None:
    """Watch a running cluster: calls, tokens, cost, cache, and a line for each endpoint. Ctrl-C ends it."""
    with closing(Remote(url, token_env=token_env)) as remote:
        if as_json:
            print_json(_look(remote))
        elif once:
            console().print(_drawn(_look(remote)))
        else:
            watching.watch(lambda: _drawn(_look(remote)), every)


@contextmanager
def shown(cluster: Any, *, every: float = 1.0, to: Console | None = None) -> Iterator[None]:
    """Show a cluster of this process in its terminal, for as long as the block goes on.

    Args:
        cluster: a `Cluster`, or anything with one as `.cluster`, such as a `ClusteredLLM`.
        every: seconds between two looks, > 0.
        to: the console that is drawn on; that of stdout if None.
    """
    running = getattr(cluster, "cluster", cluster)
    view = View(running, None, time.time)
    leave = running.events.subscribe(view.ledger.hear)
    over = Event()

    def look() -> Group:
        return _drawn({"stats": view.stats(), "endpoints": view.endpoints()})

    def draw(live: Live) -> None:
        while not over.wait(every):
            live.update(look(), refresh=True)

    try:
        with Live(look(), console=to or console(), auto_refresh=False) as live:
            drawing = Thread(target=draw, args=(live,), name="langchain-cluster-top", daemon=True)
            drawing.start()
            try:
                yield
            finally:
                over.set()
                drawing.join()
                live.update(look(), refresh=True)
    finally:
        leave()


def _look(remote: Remote) -> dict[str, Any]:
    return {"stats": remote.get("/stats"), "endpoints": remote.get("/endpoints")["endpoints"]}


def _drawn(seen: dict[str, Any]) -> Group:
    stats = seen["stats"]
    line = (
        f"{stats['calls']} calls, {stats['in_flight']} in flight, {stats['failed']} failed · "
        f"{stats['cache_hit_ratio']:.0%} from the cache · "
        f"{stats['input_tokens']} tokens in, {stats['output_tokens']} out · "
        f"{stats['cost_usd']:.4f} USD · {stats['balancer']}"
    )
    return Group(Text(clean(line)), Lines(seen["endpoints"]))
