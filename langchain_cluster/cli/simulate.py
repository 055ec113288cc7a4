"""The view of `route --simulate`: one table for the balancers, one for their endpoints, and a picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import isfinite
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from langchain_cluster.cli.screen import clean, console, print_json, remark
from langchain_cluster.config.balancer import BalancerConfig
from langchain_cluster.errors import ConfigError
from langchain_cluster.testing.simulation.result import Simulation
from langchain_cluster.testing.simulation.scenario import Scenario

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def show_simulation(source: str, overrides: Mapping[str, Any], *, plot: str | None, as_json: bool) -> None:
    """Run a scenario with each of its balancers and show what happened.

    Raises:
        ConfigError: a scenario, balancer or picture that is none. Or matplotlib is not installed.
    """
    scenario = Scenario.load(source)
    if "balancers" in overrides and "all" in overrides["balancers"]:
        overrides = {**overrides, "balancers": "all"}
    scenario = scenario.but(**overrides)
    if plot is not None:
        from langchain_cluster.testing.simulation.plot import checked_path

        try:
            checked_path(plot)  # before the work, not after it
        except ImportError as missing:
            raise ConfigError(str(missing), key="--plot") from None
    runs = _run(scenario)
    if plot is not None:
        from langchain_cluster.testing.simulation.plot import draw

        draw(scenario, runs, plot)
    if as_json:
        print_json(
            {
                "scenario": scenario.name or source,
                "calls": scenario.calls,
                "seed": scenario.seed,
                "balancers": {label: _facts(scenario, result) for label, result in runs.items()},
            }
        )
        return
    screen = console()
    about = clean(scenario.about or scenario.name or source)
    screen.print(Text(f"{about}: {scenario.calls} calls, seed {scenario.seed}", style="bold"))
    screen.print(_balancers(scenario, runs))
    screen.print(_endpoints(scenario, runs))
    if plot is not None:
        remark(f"drawn: {plot}")


def labels(balancers: tuple[BalancerConfig, ...]) -> dict[str, BalancerConfig]:
    """A name for each: its kind, and its options where it has some."""
    named: dict[str, BalancerConfig] = {}
    for each in balancers:
        options = ", ".join(f"{name}={value}" for name, value in each.options.items())
        named[f"{each.kind} ({options})" if options else each.kind] = each
    return named


def _run(scenario: Scenario) -> dict[str, Simulation]:
    named = labels(scenario.balancers)
    runs: dict[str, Simulation] = {}
    watched = sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not watched) as progress:
        task = progress.add_task("", total=scenario.calls * len(named))
        for number, (label, balancer) in enumerate(named.items()):
            progress.update(task, description=label)
            before = number * scenario.calls

            def show(begun: int, before: int = before) -> None:
                progress.update(task, completed=before + begun)

            runs[label] = scenario.run(balancer, progress=show)
    return runs


def _facts(scenario: Scenario, result: Simulation) -> dict[str, Any]:
    return {
        "answered": len(result.latencies),
        "lost": result.lost,
        "refused": result.refused,
        "attempts": result.calls,
        "failed": sum(result.failed.values()),
        "throttled": sum(result.throttled.values()),
        "retried": sum(result.retried.values()),
        "hit_ratio": _number(result.hit_ratio),
        "seconds": result.seconds,
        **{name: _number(result.quantile(q)) for name, q in QUANTILES.items()},
        "endpoints": {
            id: {
                "share": result.share(id),
                **{name: _number(result.quantile(q, id)) for name, q in QUANTILES.items()},
                "served": result.served.get(id, 0),
                "failed": result.failed.get(id, 0),
                "throttled": result.throttled.get(id, 0),
                "retried": result.retried.get(id, 0),
            }
            for group in scenario.endpoints
            for id in group.ids
        },
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None  # NaN is no JSON


def _balancers(scenario: Scenario, runs: Mapping[str, Simulation]) -> Table:
    table = Table()
    table.add_column("balancer")
    facts = ["p50", "p95", "p99", "lost", "refused", "failed", "throttled", "retried"]
    remembering = any(isfinite(result.hit_ratio) for result in runs.values())
    for title in facts + ["hits"] * remembering:
        table.add_column(title, justify="right")
    for label, result in runs.items():
        told = _facts(scenario, result)
        row = [_seconds(told[name]) for name in QUANTILES] + [_count(told[name]) for name in facts[3:]]
        table.add_row(label, *row, *([_percent(result.hit_ratio)] if remembering else []))
    return table


def _endpoints(scenario: Scenario, runs: Mapping[str, Simulation]) -> Table:
    """Those that are alike in one row: the share of each, the others' figures together."""
    table = Table()
    table.add_column("balancer")
    table.add_column("endpoint")
    for title in ("share", *QUANTILES, "failed", "throttled", "retried"):
        table.add_column(title, justify="right")
    for label, result in runs.items():
        facts = _facts(scenario, result)["endpoints"]
        for number, group in enumerate(scenario.endpoints):
            own = [facts[id] for id in group.ids]
            shares = [each["share"] for each in own]
            share = _percent(sum(shares) / len(shares))
            name = clean(group.id)
            if group.copies > 1:
                name += f" × {group.copies}"
                share = f"{share} ({_percent(min(shares))} to {_percent(max(shares))})"
            known = {q: [each[q] for each in own if each[q] is not None] for q in QUANTILES}
            quantiles = [_seconds(sum(known[q]) / len(known[q]) if known[q] else None) for q in QUANTILES]
            counts = [_count(sum(each[c] for each in own)) for c in ("failed", "throttled", "retried")]
            last = number == len(scenario.endpoints) - 1
            table.add_row("" if number else label, name, share, *quantiles, *counts, end_section=last)
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _percent(part: float) -> str:
    return f"{part:.2%}" if isfinite(part) else "-"


def _count(number: int) -> str:
    return str(number) if number else "-"
