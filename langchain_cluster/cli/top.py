"""`top`: a running cluster at a glance, over and over."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from langchain_cluster.admin.rules import TOKEN_ENV
from langchain_cluster.cli.endpoints import HERE, table
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
            with Live(_drawn(_look(remote)), console=console(), auto_refresh=False) as live:
                while True:
                    time.sleep(every)
                    live.update(_drawn(_look(remote)), refresh=True)


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
    return Group(Text(clean(line)), table(seen["endpoints"]))
