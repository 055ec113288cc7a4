"""The command line, `langchain-cluster`. Its libraries are an extra; without them it says what to install."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns or exits with 0 (done), 1 (the thing failed), 2 (wrong use) or 130 (Ctrl-C)."""
    try:
        missing = _missing()
        if missing is not None:
            print(f"error: {missing}", file=sys.stderr)
            return 2
        if hasattr(sys.stdout, "reconfigure"):  # a character it cannot show must not end a command
            sys.stdout.reconfigure(errors="backslashreplace")
        from langchain_cluster.cli.app import make_app

        make_app()(args=arguments, prog_name="langchain-cluster")
    except KeyboardInterrupt:  # while libraries are imported; commands are looked after in `app`
        return 130
    return 0


def _missing() -> ImportError | None:
    from langchain_cluster.extras import need

    for module in ("typer", "rich"):
        try:
            need(module, extra="cli", for_="The command line")
        except ImportError as missing:
            return missing
    return None
