"""`cache invalidate`: take answers back, wherever they are kept."""

from __future__ import annotations

from typing import Annotated

import typer

from langchain_cluster.admin.kept import take_back
from langchain_cluster.cli.cache.place import TOKEN, Admin, Config, Json, Token, place
from langchain_cluster.cli.screen import console, print_json
from langchain_cluster.errors import ConfigError

EPILOG = (
    "Examples:\n\nlangchain-cluster cache invalidate --tenant ann\n\n"
    'langchain-cluster cache invalidate "lc:*:step:search:*" --config cluster.yaml'
)


def invalidate(
    pattern: Annotated[str | None, typer.Argument(metavar="[PATTERN]", help="A glob of keys.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="All that is kept for a tenant.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="All answers of a model.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="All answers with a tag.")] = None,
    config: Config = None,
    admin: Admin = None,
    token_env: Token = TOKEN,
    as_json: Json = False,
) -> None:
    """Remove what is kept: by a pattern of keys, of a tenant, model or tag. Several must hold together."""
    asked = {"pattern": pattern, "tenant": tenant, "model": model, "tag": tag}
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        raise ConfigError("give PATTERN, --tenant, --model or --tag")
    with place(config, admin, token_env) as (llm, remote):
        if remote is not None:
            removed = remote.post("/cache/invalidate", given)["removed"]
        else:
            removed = take_back(llm.cluster, given)
    if as_json:
        print_json({"removed": removed})
    else:
        console().print(f"{removed} removed")
