"""`schema`: the JSON schema of a config or scenario file, for editors that complete and check."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from langchain_cluster.cli.screen import print_json

EPILOG = "Example:\n\nlangchain-cluster schema > cluster.schema.json"


class Kind(StrEnum):
    """Which files there are."""

    CLUSTER = "cluster"
    SCENARIO = "scenario"


def schema(
    of: Annotated[Kind, typer.Argument(metavar="[cluster|scenario]", help="Of which file.")] = Kind.CLUSTER,
) -> None:
    """Print the JSON schema of a config file, or of a scenario for route --simulate."""
    if of is Kind.SCENARIO:
        from langchain_cluster.testing.simulation.scenario import json_schema
    else:
        from langchain_cluster.config.schema import json_schema
    print_json(json_schema())
