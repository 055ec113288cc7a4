"""`check`: is this config valid, what does it amount to, and does everybody in it answer?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from langchain_cluster.cli.screen import clean, console, print_json

if TYPE_CHECKING:
    from langchain_cluster.cli.probe import Finding

EPILOG = "Example:\n\nlangchain-cluster check cluster.yaml --probe"


def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .yaml, .yml, .toml or .json file.")],
    probe: Annotated[bool, typer.Option("--probe", help="Ask each endpoint whether it answers.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a probe may take.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check a config file: that it is valid, and with --probe that its endpoints answer."""
    from langchain_cluster.cluster import Cluster
    from langchain_cluster.config.build import cluster_arguments
    from langchain_cluster.config.describe import describe, variables
    from langchain_cluster.config.load import load

    config = load(file)
    arguments = cluster_arguments(config)
    Cluster(**arguments)  # what only the whole can find wrong
    findings: list[Finding] = []
    if probe:
        from langchain_cluster.cli.probe import probe_all

        findings = probe_all(config.endpoints, arguments["endpoints"], timeout=timeout)
    described = describe(config)
    ok = all(finding.ok for finding in findings)
    if as_json:
        told: dict[str, Any] = {"file": file, "ok": ok, "config": described, "variables": variables(config)}
        if probe:
            told["probe"] = [asdict(finding) for finding in findings]
        print_json(told)
    else:
        _show(file, described, findings)
    if not ok:
        raise typer.Exit(1)


def _show(file: str, described: dict[str, Any], findings: Sequence[Finding]) -> None:
    screen = console()
    screen.print(_endpoints(described["endpoints"], findings))
    facts = Table.grid(padding=(0, 2))
    for source in described["discovery"]:
        facts.add_row("discovery", _in_words(source))
    if described["factory"] is not None:
        facts.add_row("factory", _in_words(described["factory"]))
    for name in ("balancer", "policy", "breaker", "cache", "health", "leadership"):
        facts.add_row(name, _in_words(described[name]))
    for agent in described["agents"]:
        facts.add_row(f"agent {_text(agent)}", _in_words(described["agents"][agent]))
    screen.print(facts)
    failed = sum(not finding.ok for finding in findings)
    if failed:
        screen.print(f"[red]{failed} of {len(findings)} endpoints did not answer[/]")
    else:
        screen.print(f"[green]{_text(file)} is valid[/]" + (", and everybody answered" if findings else ""))


def _endpoints(described: Sequence[dict[str, Any]], findings: Sequence[Finding]) -> Table:
    table = Table()
    for title in ("endpoint", "model", "where", "weight", "tier", "zone", "key from"):
        table.add_column(title, justify="right" if title == "weight" else "left")
    if findings:
        table.add_column("probe", overflow="fold")
    for number, own in enumerate(described):
        facts = (own["id"], own["model"], own["url"], f"{own['weight']:g}", own["tier"], own["zone"])
        row = [_text(fact or "-") for fact in (*facts, own["api_key_env"])]
        if findings:
            row.append(_found(findings[number]))
        table.add_row(*row)
    return table


def _found(finding: Finding) -> str:
    state = "[green]ok[/]" if finding.ok else "[red]failed[/]"
    return f"{state} {_text(finding.detail)} [dim]{finding.seconds:.2f} s[/]"


def _in_words(values: dict[str, Any] | None) -> str:
    """`peak_ewma, decay 5`; what is switched off is left out."""
    if values is None:
        return "none"
    words = [str(values["kind"])] if "kind" in values else []
    for name, value in values.items():
        if isinstance(value, dict):
            words.append(f"{name} ({_in_words(value)})")
        elif isinstance(value, list):
            parts = (f"({_in_words(each)})" if isinstance(each, dict) else str(each) for each in value)
            words.append(f"{name} {' '.join(parts)}")
        elif value is not None and name != "kind":
            words.append(f"{name} {value:g}" if type(value) is float else f"{name} {value}")
    return _text(", ".join(words))


def _text(given: str) -> str:
    return escape(clean(given))
