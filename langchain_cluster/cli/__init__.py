"""The command line, `langchain-cluster`. Its libraries are an extra; without them it says what to install."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns or exits with 0 (done), 1 (the thing failed), 2 (wrong use) or 130 (Ctrl-C)."""
    from langchain_cluster.extras import need

    try:
        for module in ("typer", "rich"):
            need(module, extra="cli", for_="The command line")
    except ImportError as missing:
        print(f"error: {missing}", file=sys.stderr)
        return 2
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character must not end a command
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from langchain_cluster.cli.app import make_app

        make_app()(args=arguments, prog_name="langchain-cluster")
    except KeyboardInterrupt:  # while the libraries were still being imported
        return 130
    return 0
