"""`cache stats`: how often a cache answers, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from langchain_cluster.admin.kept import counted
from langchain_cluster.cli.cache.place import TOKEN, Admin, Config, Json, Token, place
from langchain_cluster.cli.screen import clean, console, print_json, remark

EPILOG = "Examples:\n\nlangchain-cluster cache stats\n\nlangchain-cluster cache stats --config cluster.yaml"
COLUMNS = {
    "entries": "entries", "bytes": "bytes", "hits": "hits", "misses": "misses", "sets": "sets",
    "evictions": "evicted", "expired": "expired", "errors": "errors",
}  # fmt: skip
SEMANTIC = ("entries", "scopes", "hits", "misses", "stores", "refuted", "labels")


def stats(
    config: Config = None, admin: Admin = None, token_env: Token = TOKEN, as_json: Json = False
) -> None:
    """Show the hits, misses, entries and bytes of each layer, and of the semantic cache.

    Of a config there is what its servers hold; what a running process has counted its admin app tells.
    """
    with place(config, admin, token_env) as (llm, remote):
        told = remote.get("/cache") if remote is not None else counted(llm.cluster)
    if as_json:
        print_json(told)
        return
    exact, semantic = told.get("exact"), told.get("semantic")
    if exact is None and semantic is None:
        remark("there is no cache")
    if exact is not None:
        console().print(_exact(exact))
    if semantic is not None:
        console().print(_semantic(semantic))


def _exact(told: Mapping[str, Any]) -> Table:
    table = _narrow()
    table.add_column("cache", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    for title in COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    layers = told.get("layers") or []
    for layer in layers:
        table.add_row(clean(str(layer.get("name", "?"))), *_row(layer))
    table.add_section()
    table.add_row("all" if layers else "exact", *_row(told))
    return table


def _narrow() -> Table:
    """With room for the numbers in 80 columns."""
    return Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False)


def _row(told: Mapping[str, Any]) -> list[str]:
    if "error" in told:
        return ["[red]away[/]", *("-" for _ in COLUMNS)]
    looked = told.get("hits", 0) + told.get("misses", 0)
    ratio = f"{told.get('hits', 0) / looked:.1%}" if looked else "-"
    return [ratio, *(_number(name, told.get(name)) for name in COLUMNS)]


def _semantic(told: Mapping[str, Any]) -> Table:
    table = _narrow()
    table.add_column("cache", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    for title in SEMANTIC:
        table.add_column(title, justify="right", no_wrap=True)
    looked = told.get("hits", 0) + told.get("misses", 0)
    ratio = f"{told.get('hits', 0) / looked:.1%}" if looked else "-"
    table.add_row("by meaning", ratio, *(_number(name, told.get(name)) for name in SEMANTIC))
    return table


def _number(name: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return "-"
    if name != "bytes":
        return f"{value:,}"
    for unit in ("B", "K", "M", "G"):
        if value < 1024 or unit == "G":
            return f"{value:,.0f} B" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError
