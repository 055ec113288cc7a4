"""`cache warm`: answers in the cache before anybody asks, and what another process is asked most."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langchain_cluster.cli.cache.place import TOKEN, Config, Json, Token, of_config
from langchain_cluster.cli.remote import is_url
from langchain_cluster.cli.screen import complain, console, print_json, remark
from langchain_cluster.errors import ConfigError

EPILOG = (
    "Examples:\n\nlangchain-cluster cache warm prompts.txt --config cluster.yaml\n\n"
    "langchain-cluster cache warm --from http://10.0.0.7:9465 --to hot.jsonl"
)


def warm(
    prompts: Annotated[
        str | None, typer.Argument(metavar="[PROMPTS]", help="A .txt or .jsonl file, one prompt a line.")
    ] = None,
    config: Config = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|FILE", help="Instead of prompts: what a process is asked most."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="FILE", help="With --from: write it here.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="With --from: entries at most.")] = 1_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Prompts in flight at once.")] = 8,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask also what is kept, and replace it.")
    ] = False,
    token_env: Token = TOKEN,
    as_json: Json = False,
) -> None:
    """Ask what is not in the cache of a config yet; after Ctrl-C, the same command goes on.

    With --from nobody is asked: entries are copied from a running process, or from a file.
    """
    if (prompts is None) is (source is None):
        raise ConfigError("give either PROMPTS or --from")
    if source is not None:
        if (config is None) is (to is None):
            raise ConfigError("where to? give either --config or --to", key="--from")
        _copy(source, config, to, limit, token_env, as_json=as_json)
        return
    if to is not None:
        raise ConfigError("goes with --from", key="--to")
    if config is None:
        raise ConfigError("whose answers? give --config FILE")
    _ask(str(prompts), config, concurrency, refresh=refresh, as_json=as_json)


def _copy(
    source: str, config: str | None, to: str | None, limit: int, token_env: str, *, as_json: bool
) -> None:
    from langchain_cluster.warming.hot import fetch_hot, fill, read_hot, write_hot

    entries = (fetch_hot(source, limit, token_env=token_env) if is_url(source) else read_hot(source))[:limit]
    if to is not None:
        try:
            done = write_hot(to, entries)
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror}", file=to) from None
    else:
        llm = _lasting(str(config))
        try:
            done = fill(llm.cluster.cache, entries)
        finally:
            llm.cluster.close()
    if as_json:
        print_json({"found": len(entries), "written": done})
    else:
        console().print(
            f"{len(entries)} entries found, {done} written{'' if to else ', the others were there'}"
        )


def _lasting(config: str) -> Any:
    """The model of a config whose cache outlives this process. Raises ConfigError when it does not."""
    llm = of_config(config)
    semantic = llm.config_source.semantic_cache
    kept = semantic is not None and (semantic.path is not None or semantic.share is not None)
    if not kept and not _lasts(llm.cluster.cache):
        llm.cluster.close()
        raise ConfigError(
            "it is in memory, and would be gone with this command: add a layer that lasts, such as redis,"
            " or call langchain_cluster.warming.warm(llm, prompts) where it is used",
            file=config,
            key="cache",
        )
    return llm


def _lasts(store: Any) -> bool:
    from langchain_cluster.cache import MemoryCache
    from langchain_cluster.cache.caches import Caches

    if isinstance(store, Caches):
        return _lasts(store.store)
    inner = [*getattr(store, "layers", ()), *getattr(store, "stores", ())]
    if inner:
        return any(map(_lasts, inner))
    return store is not None and not isinstance(store, MemoryCache)


def _ask(prompts: str, config: str, concurrency: int, *, refresh: bool, as_json: bool) -> None:
    from langchain_cluster.warming import Warmed, awarm, read_prompts

    found = read_prompts(prompts)  # all of it, before anybody is asked
    llm = _lasting(config)
    last = Warmed(len(found))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    watched = sys.stderr.isatty()
    interrupted = False
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not watched) as bar:
        task = bar.add_task("warming", total=len(found))

        def show(warmed: Warmed) -> None:
            nonlocal last
            last = warmed
            bar.update(task, completed=warmed.done, description=_said(warmed))

        async def run() -> None:
            async with llm.cluster:
                await awarm(llm, found, concurrency=concurrency, refresh=refresh, progress=show)

        try:
            asyncio.run(run())
        except KeyboardInterrupt:
            interrupted = True
    if as_json:
        print_json({**asdict(last), "interrupted": interrupted})
    else:
        console().print(_said(last))
        for error in last.errors:
            complain(error)
        if last.failed > len(last.errors):
            remark(f"and {last.failed - len(last.errors)} more", stderr=True)
        if last.unkept:
            why = "cut off, filtered, or with tool calls"
            remark(f"{last.unkept} answers are not to be kept: {why}", stderr=True)
        if last.skipped:
            remark(f"{last.skipped} cannot be cached, and were not asked", stderr=True)
        if interrupted:
            remark("stopped; the same command goes on from here", stderr=True)
    if interrupted:
        raise typer.Exit(130)
    if last.failed:
        raise typer.Exit(1)


def _said(warmed: Any) -> str:
    return f"{warmed.hits} were there, {warmed.asked} asked, {warmed.failed} failed"
