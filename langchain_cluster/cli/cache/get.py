"""`cache get`: what is kept for a question, in which layer and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from langchain_cluster.admin.kept import find
from langchain_cluster.cli.cache.place import TOKEN, Admin, Config, Json, Token, place
from langchain_cluster.cli.screen import clean, console, print_json
from langchain_cluster.errors import ConfigError

EPILOG = (
    'Examples:\n\nlangchain-cluster cache get --prompt "How tall is Everest?" --tenant ann\n\n'
    'langchain-cluster cache get --config cluster.yaml "lc:{e3b0c44298fc}:5f1d..."'
)
LONGEST = 300  # characters of an answer in the table


def get(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="A key as stores know it.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Instead of KEY: a question.")] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With --prompt: what was said before.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="With --prompt: whose it is.")] = None,
    config: Config = None,
    admin: Admin = None,
    token_env: Token = TOKEN,
    as_json: Json = False,
) -> None:
    """Show what is kept under a key, or for a question. The exit code is 1 when it is nothing.

    An admin app shows answers only to who has its token.
    """
    if (key is None) is (prompt is None):
        raise ConfigError("give either KEY or --prompt")
    if prompt is None and (system is not None or tenant is not None):
        raise ConfigError("--system and --tenant go with --prompt")
    asked = {"key": key, "prompt": prompt, "system": system, "tenant": tenant}
    given = {name: value for name, value in asked.items() if value is not None}
    with place(config, admin, token_env) as (llm, remote):
        if remote is not None:
            found = remote.post("/cache/get", given)["found"]
        else:
            found = find(llm.cluster, given)
    if as_json:
        print_json(found)
    else:
        _show(found, given)
    if not any(one["layers"] for one in found):
        raise typer.Exit(1)


def _show(found: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> None:
    screen = console()
    if not found:
        screen.print("[yellow]such a question is not cached[/]")
    for one in found:
        if not one["layers"]:
            screen.print(f"[yellow]nothing[/] under {escape(clean(one['key']))}")
            continue
        screen.print(escape(clean(one["key"])), soft_wrap=True)
        table = Table()
        for title in ("layer", "bytes", "seconds left"):
            table.add_column(title, justify="left" if title == "layer" else "right")
        table.add_column("what", overflow="fold")
        for layer in one["layers"]:
            left = "-" if layer["ttl"] is None else f"{layer['ttl']:.0f}"
            text = clean(layer["text"])
            shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
            table.add_row(
                layer["name"], str(layer["bytes"]), left, f"[dim]{layer['kind']}[/] {escape(shown)}"
            )
        screen.print(table)
