"""`cache eval`: how often a semantic cache would answer judged questions, and how often wrongly."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from langchain_cluster.cli.screen import console, print_json, remark
from langchain_cluster.errors import ConfigError

EPILOG = (
    "Examples:\n\nlangchain-cluster cache eval pairs.csv --plot curve.png\n\n"
    "langchain-cluster cache eval questions.jsonl --error-rate 0.02 --limit 2000"
)


def eval(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Judged questions: .csv or .jsonl.")],
    error_rate: Annotated[
        list[float] | None, typer.Option(metavar="RATE", help="Of a learned policy. Repeat for more. [0.01]")
    ] = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the curve: .png or .svg.")] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="LangChain Embeddings instead of the bundled ones."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read so many lines.")] = None,
    orders: Annotated[int, typer.Option(min=1, help="Orders in which the questions are asked.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the orders.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure every threshold with and without guards, and a learned one, on questions of yours.

    FILE has pairs (a, b, same) or questions with answers (text, answer). Nothing leaves this machine.
    """
    from langchain_cluster.testing.quality import draw, measure, read_judged
    from langchain_cluster.testing.simulation.plot import checked_path

    rates = error_rate or [0.01]
    for rate in rates:
        if not 0 < rate < 0.2:
            raise ConfigError(f"{rate!r} is not above 0 and below 0.2", key="--error-rate")
    try:
        if plot is not None:
            checked_path(plot)  # before the work, not after it
        judged = read_judged(file, limit)
        watched = sys.stderr.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console(stderr=True), transient=True, disable=not watched) as bar:
            task = bar.add_task("", total=None)

            def show(what: str, done: int, of: int) -> None:
                if watched:
                    bar.update(task, description=what, completed=done, total=of)

            embedder = None if embeddings is None else _embedder(embeddings)
            measured = measure(judged, embedder, error_rates=rates, orders=orders, seed=seed, progress=show)
        if plot is not None:
            draw(measured, plot)
    except ImportError as missing:
        raise ConfigError(str(missing)) from None
    if as_json:
        print_json(_told(file, measured))
        return
    console().print(_table(measured))
    remark(_legend(measured))
    if plot is not None:
        remark(f"drawn: {plot}")


def _embedder(named: str) -> Any:
    module, _, name = named.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it: an embedder is often next to the questions
    try:
        found = getattr(import_module(module), name) if name else None
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{named!r}: {error}", key="--embeddings") from None
    finally:
        sys.path.pop(0)
    if isinstance(found, type) or (callable(found) and not hasattr(found, "embed_query")):
        found = found()
    if not callable(getattr(found, "embed_query", None)):
        raise ConfigError(f"{named!r} has no embed_query: give MODULE:NAME of Embeddings", key="--embeddings")
    return found


def _table(measured: Any) -> Table:
    from langchain_cluster.testing.quality.measure import SHOWN, STREAMED

    pairs = measured.kind == "pairs"
    table = Table(box=SIMPLE_HEAD)  # it has to fit into 80 columns
    table.add_column("policy", no_wrap=True)
    for title in ("at", "served", "precision %", "hits %", "false hits %" if pairs else "wrong %"):
        table.add_column(title, justify="right", no_wrap=True)
    before = None
    for point in measured.points:
        learned = point.policy == "learned"
        if not learned and point.threshold not in (*SHOWN, *STREAMED):
            continue
        if before not in (None, point.policy):
            table.add_section()
        before = point.policy
        bounds = point.bounds
        precision = _rate(point.precision, bounds["precision"]) if point.served else "-"
        low, high = bounds["precision"]
        wrong = _rate(1 - point.precision, (1 - high, 1 - low)) if point.served else "-"
        if pairs and not learned:
            wrong = _rate(point.false_hits, bounds["false_hits"])
        elif pairs:
            wrong = "-"
        at = f"{point.threshold:g}" if learned else f"{point.threshold:.2f}"
        table.add_row(
            point.policy, at, str(point.served), precision, _rate(point.hits, bounds["hits"]), wrong
        )
    return table


def _rate(rate: float, bounds: tuple[float, float]) -> str:
    low, high = (_percent(bound) for bound in bounds)
    return f"{100 * rate:.1f} ({low}-{high})"


def _percent(part: float) -> str:
    """With a decimal where it says something: near nothing, and near all."""
    percent = 100 * part
    return f"{percent:.0f}" if 10 <= percent < 99 or percent in (0, 100) else f"{percent:.1f}"


def _legend(measured: Any) -> str:
    at = "at: threshold (cosine), or error_rate of what learns. precision: right answers per answer served."
    if measured.kind == "pairs":
        return (
            f"{measured.questions} pairs. {at} hits: per pair that shares an answer. false hits: per pair"
            " that does not. Within brackets: 95 %. What learns is asked all questions as a stream, and needs"
            " about 50 comparisons before it serves anything."
        )
    return (
        f"{measured.questions} questions as a stream. {at} hits: right ones per question whose answer was"
        " known. wrong: per answer served. Within brackets: 95 %."
    )


def _told(file: str, measured: Any) -> dict[str, Any]:
    return {
        "file": file,
        "kind": measured.kind,
        "questions": measured.questions,
        "points": [
            {
                "policy": point.policy,
                ("error_rate" if point.policy == "learned" else "threshold"): point.threshold,
                "right": point.right,
                "wrong": point.wrong,
                "could": point.could,
                "traps": point.traps,
                "precision": point.precision,
                "hits": point.hits,
                "false_hits": point.false_hits,
                "bounds": point.bounds,
            }
            for point in measured.points
        ],
    }
