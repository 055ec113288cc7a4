"""`endpoints`: who is there and how they do, and what an operator does to one of them by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from typing import Annotated, Any

import typer

from langchain_cluster.admin.rules import TOKEN_ENV
from langchain_cluster.cli import watching
from langchain_cluster.cli.lines import Lines
from langchain_cluster.cli.remote import Remote, is_url
from langchain_cluster.cli.screen import console, print_json
from langchain_cluster.errors import ConfigError

EPILOG = (
    "Examples:\n\nlangchain-cluster endpoints cluster.yaml\n\n"
    "langchain-cluster endpoints discovered.yaml --watch\n\n"
    "langchain-cluster endpoints http://127.0.0.1:9465 --watch\n\n"
    "langchain-cluster endpoints http://127.0.0.1:9465 drain gpu-1\n\n"
    "langchain-cluster endpoints http://127.0.0.1:9465 promote 1"
)
HERE = "http://127.0.0.1:9465"


class Action(StrEnum):
    """What may be done to an endpoint, or to all of them."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    FORCE_OPEN = "force-open"
    FORCE_CLOSE = "force-close"
    RESET = "reset"
    RECOVER = "recover"
    DISABLE_BREAKER = "disable-breaker"
    METRICS_ONLY = "metrics-only"
    ENABLE_BREAKER = "enable-breaker"
    REBALANCE = "rebalance"
    PROMOTE = "promote"
    DEMOTE = "demote"


OF_ALL = (Action.REBALANCE, Action.PROMOTE, Action.DEMOTE)


def endpoints(
    target: Annotated[
        str, typer.Argument(metavar="[CONFIG|URL]", help="A config file, or where an admin app is.")
    ] = HERE,
    action: Annotated[
        Action | None, typer.Argument(metavar="[ACTION]", help=", ".join(each.value for each in Action))
    ] = None,
    id: Annotated[
        str | None,
        typer.Argument(metavar="[ID|LEVEL]", help="Of the endpoint; of promote, demote: the level."),
    ] = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="For drain: call back what waits.")] = False,
    token_env: Annotated[
        str, typer.Option(metavar="NAME", help="The variable that holds the admin app's token.")
    ] = TOKEN_ENV,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="For --watch: seconds.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the endpoints of a running cluster, or act on one; of a config, who is or would be there."""
    if action is not None and action not in OF_ALL and id is None:
        raise ConfigError(f"which endpoint? {action.value} ID", key="ID")
    given = {} if action not in OF_ALL else _level(action, id)
    if migrate and action is not Action.DRAIN:
        raise ConfigError("is for drain", key="--migrate")
    if not is_url(target):
        if action is None and _names_registries(target):
            _found(target, watch=watch, every=every, as_json=as_json)
            return
        if action is not None or watch:
            raise ConfigError(
                f"{target} is a config, and not a running cluster: give the URL of its admin app", key="URL"
            )
        _show(_of_config(target), as_json=as_json)
        return
    with closing(Remote(target, token_env=token_env)) as remote:
        if action in OF_ALL:
            told = remote.post(f"/{action.value}", given)
            _show(_of(remote), as_json=as_json, told=told)
        elif action is not None:
            told = remote.act(str(id), action.value, **({"migrate": True} if migrate else {}))
            _show([told["endpoint"]] if told.get("endpoint") else [], as_json=as_json, told=told)
        elif watch and not as_json:
            watching.watch(lambda: Lines(_of(remote)), every)
        else:
            _show(_of(remote), as_json=as_json)
            while watch:
                time.sleep(every)
                _show(_of(remote), as_json=as_json)


def _level(action: Action, level: str | None) -> dict[str, Any]:
    """What an action on all of them is told."""
    if action is Action.REBALANCE:
        if level is not None:
            raise ConfigError("is for all of them, not for one", key=action.value)
        return {}
    if level is None and action is Action.DEMOTE:
        raise ConfigError("which level? demote LEVEL", key="LEVEL")
    if level is not None and not level.isdecimal():
        raise ConfigError(f"{level!r} is no level: a whole number", key="LEVEL")
    return {} if level is None else {"level": int(level)}


def _of(remote: Remote) -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = remote.get("/endpoints")["endpoints"]
    return shapes


def _names_registries(path: str) -> bool:
    from langchain_cluster.config import load

    return bool(load(path).discovery)


def _found(path: str, *, watch: bool, every: float, as_json: bool) -> None:
    """Who the registries of a config say is there, once or again and again; 1 if none has answered."""
    from langchain_cluster.cli.found import Found

    with Found(path, Lines) as found:
        if as_json:
            print_json({"endpoints": found.shapes(), "told": found.told})
            while watch:
                time.sleep(every)
                print_json({"endpoints": found.shapes(), "told": found.told})
        elif watch:
            watching.watch(found.drawn, every)
        else:
            console().print(found.drawn())
        if not found.answered:
            raise typer.Exit(1)


def _of_config(path: str) -> list[dict[str, Any]]:
    """As they would be at the start; nothing is asked."""
    from langchain_cluster.admin.shapes import member_shape
    from langchain_cluster.llm import ClusteredLLM

    cluster = ClusteredLLM.from_config(path).cluster
    now = cluster.clock.now()
    return [member_shape(m, cluster.pool.state(m.endpoint.id), None, now) for m in cluster.pool]


def _show(shapes: Sequence[dict[str, Any]], *, as_json: bool, told: dict[str, Any] | None = None) -> None:
    if as_json:
        print_json({"endpoints": list(shapes)} if told is None else told)
    else:
        console().print(Lines(shapes))
