"""`route`: who would answer a call of this cluster, and how balancers share out simulated traffic."""

from __future__ import annotations

from typing import Annotated

import typer

from langchain_cluster.errors import ConfigError

EPILOG = (
    "Examples:\n\nlangchain-cluster route cluster.yaml --zone eu --needs tools\n\n"
    "langchain-cluster route --simulate slow-one-of-ten --balancer peak_ewma --balancer round_robin "
    "--plot shares.svg"
)
_OF_REQUEST, _OF_SIMULATION = "The request", "The simulation"


def route(
    file: Annotated[str | None, typer.Argument(metavar="[CONFIG]", help="A config file.")] = None,
    key: Annotated[str | None, typer.Option(help="Its session.", rich_help_panel=_OF_REQUEST)] = None,
    tier: Annotated[str | None, typer.Option(help="Demanded.", rich_help_panel=_OF_REQUEST)] = None,
    zone: Annotated[str | None, typer.Option(help="Preferred.", rich_help_panel=_OF_REQUEST)] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Demanded. Repeat for more.", rich_help_panel=_OF_REQUEST)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Demanded value of metadata.model.", rich_help_panel=_OF_REQUEST),
    ] = None,
    role: Annotated[
        str, typer.Option(help="llm, embedding, retrieval or cache.", rich_help_panel=_OF_REQUEST)
    ] = "llm",
    needs: Annotated[
        list[str] | None,
        typer.Option(help="An ability, such as tools or vision. Repeat.", rich_help_panel=_OF_REQUEST),
    ] = None,
    picks: Annotated[
        int, typer.Option(min=1, help="How many calls to share out.", rich_help_panel=_OF_REQUEST)
    ] = 1000,
    simulate: Annotated[
        str | None,
        typer.Option(
            metavar="SCENARIO",
            help="Instead of CONFIG: a scenario file, or the name of one that is shipped.",
            rich_help_panel=_OF_SIMULATION,
        ),
    ] = None,
    balancer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Instead of the scenario's own; repeat for more, or: all.",
            rich_help_panel=_OF_SIMULATION,
        ),
    ] = None,
    calls: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of the scenario's own.", rich_help_panel=_OF_SIMULATION),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Instead of the scenario's own.", rich_help_panel=_OF_SIMULATION)
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw it, as .svg or .png.", rich_help_panel=_OF_SIMULATION),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show who would serve a request and why others not; or simulate traffic over several balancers."""
    asked: dict[str, object] = {
        "--key": key,
        "--tier": tier,
        "--zone": zone,
        "--tag": tag,
        "--model": model,
        "--needs": needs,
    }
    asked |= {"--role": role if role != "llm" else None, "--picks": picks if picks != 1000 else None}
    if simulate is None:
        given: dict[str, object] = {"--balancer": balancer, "--calls": calls, "--seed": seed, "--plot": plot}
        _only(given, "is for --simulate SCENARIO")
        if file is None:
            raise ConfigError("nothing to route: give CONFIG, or --simulate SCENARIO")
        from langchain_cluster.cli.candidates import show_candidates
        from langchain_cluster.model.call import Request

        request = Request(
            key=key,
            tier=tier,
            zone=zone,
            tags=frozenset(tag or ()),
            model=model,
            role=role,  # type: ignore[arg-type]  # a name will do
            needs=frozenset(needs or ()),
        )
        if not show_candidates(file, request, picks=picks, as_json=as_json):
            raise typer.Exit(1)
        return
    if file is not None:
        raise ConfigError("give either CONFIG or --simulate, not both")
    _only(asked, "is for CONFIG, not for --simulate")
    from langchain_cluster.cli.simulate import show_simulation

    overrides = {"balancers": balancer, "calls": calls, "seed": seed}
    show_simulation(
        simulate,
        {name: value for name, value in overrides.items() if value not in (None, [])},
        plot=plot,
        as_json=as_json,
    )


def _only(given: dict[str, object], problem: str) -> None:
    for option, value in given.items():
        if value not in (None, []):
            raise ConfigError(problem, key=option)
