"""`schema`: the JSON schema of a config file, for editors that complete and check while you type."""

from __future__ import annotations

from langchain_cluster.cli.screen import print_json

EPILOG = "Example:\n\nlangchain-cluster schema > cluster.schema.json"


def schema() -> None:
    """Print the JSON schema of a config file."""
    from langchain_cluster.config.schema import json_schema

    print_json(json_schema())
