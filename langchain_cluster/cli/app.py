"""Which commands there are, and what becomes of an error: one line and an exit code, never a traceback.

A command is a module of this package with a function of its own name, whose parameters are its
options, and an `EPILOG` with an example. It imports what is heavy when it runs, not before.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from langchain_cluster.cli.screen import complain
from langchain_cluster.errors import ClusterError, ConfigError

COMMANDS = (  # in the order of the help
    "demo",
    "chat",
    "check",
    "route",
    "bench",
    "endpoints",
    "top",
    "serve-admin",
    "cache",
    "audit",
    "schema",
    "version",
)

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class Commands(TyperGroup):
    """All the commands, with our errors translated to exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            complain(error)
            raise typer.Exit(WRONG_USE) from None
        except ClusterError as error:
            complain(error)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """In our order, not the alphabet's."""
        return [name for name in COMMANDS if name in self.commands]


def make_app() -> typer.Typer:
    """The application, with every command whose module is there."""
    app = typer.Typer(
        name="langchain-cluster",
        cls=Commands,
        help="One LangChain chat model over many endpoints: look at a config, ask it, and see it fail over.",
        epilog="Example:\n\nlangchain-cluster check cluster.yaml --probe",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for name in COMMANDS:
        function = name.replace("-", "_")
        module = f"{__package__}.{function}"
        if find_spec(module) is not None:
            found = import_module(module)
            if hasattr(found, "subcommands"):
                app.add_typer(found.subcommands(), name=name)
                continue
            app.command(name, epilog=getattr(found, "EPILOG", None))(getattr(found, function))
    return app
