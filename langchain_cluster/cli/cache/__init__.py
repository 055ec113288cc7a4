"""`cache`: look into a cache, take things back, fill it, and see how near is near enough."""

from __future__ import annotations

from importlib import import_module

import typer

EPILOG = (
    "Examples:\n\nlangchain-cluster cache stats\n\nlangchain-cluster cache eval pairs.csv --plot curve.png"
)
COMMANDS = ("stats", "get", "invalidate", "warm", "eval")


def subcommands() -> typer.Typer:
    """The commands under `cache`."""
    app = typer.Typer(
        help="Look into a cache, take things back, warm it, and measure a semantic one.",
        epilog=EPILOG,
        no_args_is_help=True,
    )
    for name in COMMANDS:
        found = import_module(f"{__package__}.{name}")
        app.command(name, epilog=found.EPILOG)(getattr(found, found.__name__.rpartition(".")[2]))
    return app
