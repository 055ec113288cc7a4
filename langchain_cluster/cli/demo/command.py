"""The command: what it is given, what it needs, and how it ends."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from langchain_cluster.cli.demo.summary import Summary
from langchain_cluster.cli.screen import complain, console, print_json
from langchain_cluster.testing.local_llm import INSTALL, is_installed

NEEDS = ("langchain_openai", "opentelemetry.sdk")
EPILOG = "Example:\n\nlangchain-cluster demo --simulated"
EXTRA = 'pip install "langchain-cluster[demo]"'


def demo(
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Simulated servers: no model, over in a few seconds.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="The closing summary as JSON; the rest goes to stderr.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Write a picture of this run, an SVG file.", metavar="FILE", dir_okay=False),
    ] = None,
) -> None:
    """Watch three local LLM servers answer while one of them is killed.

    Starts three real llama.cpp servers on this machine, asks them questions through one ClusteredLLM,
    kills one with SIGKILL, brings it back, asks again for what the cache knows, and prints the trace of
    a call. Takes about a minute. Exit code 1 when a call failed or the cluster did not do what it
    promises, 2 when something is not installed, 130 after Ctrl-C; no process is left behind.
    """
    shown = console(stderr=json)
    problem = _missing(simulated) or _not_writable(picture)
    if problem is not None:
        complain(problem)
        raise typer.Exit(2)
    try:
        summary = _run(shown, simulated=simulated, picture=picture)
    except KeyboardInterrupt:
        shown.print("Stopped. The servers are gone too.")
        raise typer.Exit(130) from None
    if summary is None:
        raise typer.Exit(1)
    if json:
        print_json(summary.as_json())
    raise typer.Exit(0 if summary.kept else 1)


def _run(shown: Console, *, simulated: bool, picture: Path | None) -> Summary | None:
    """None, and a line that says why, when a server does not come up."""
    # Here and not above: `--help` and a missing package are told without loading everything else.
    from langchain_cluster.cli.demo.acts import play

    try:
        return asyncio.run(play(shown, simulated=simulated, picture=picture))
    except* (RuntimeError, OSError) as problems:  # TimeoutError is an OSError
        complain(problems.exceptions[0])
    return None


def _missing(simulated: bool) -> str | None:
    if find_spec("opentelemetry") is None or any(find_spec(name) is None for name in NEEDS):
        return f"some packages are not installed: {EXTRA}"
    if not simulated and not is_installed():
        return f"no local LLM here: {INSTALL}. Without one: langchain-cluster demo --simulated"
    return None


def _not_writable(picture: Path | None) -> str | None:
    if picture is None or picture.absolute().parent.is_dir():
        return None
    return f"--picture {picture}: there is no folder {picture.parent}"
