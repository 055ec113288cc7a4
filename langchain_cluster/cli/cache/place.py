"""Which cache is meant: that of a running process, by its admin app, or the stores that a config names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer

from langchain_cluster.admin.rules import TOKEN_ENV
from langchain_cluster.cli.endpoints import HERE
from langchain_cluster.cli.remote import Remote
from langchain_cluster.errors import ConfigError

Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="A config: the stores it names, such as a Redis."),
]
Admin = Annotated[
    str | None, typer.Option("--admin", metavar="URL", help=f"The admin app of a running process. [{HERE}]")
]
Token = Annotated[
    str, typer.Option("--token-env", metavar="NAME", help="The variable that holds the admin app's token.")
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
TOKEN = TOKEN_ENV


@contextmanager
def place(config: str | None, admin: str | None, token_env: str) -> Iterator[tuple[Any, Remote | None]]:
    """(the model of the config, None) or (None, the admin app).

    Raises:
        ConfigError: both are given, or the config has no cache.
    """
    if config is not None:
        if admin is not None:
            raise ConfigError("give either --config or --admin, not both")
        llm = of_config(config)
        try:
            yield llm, None
        finally:
            llm.cluster.close()
        return
    with closing(Remote(admin or HERE, token_env=token_env)) as remote:
        yield None, remote


def of_config(config: str) -> Any:
    """The model of a config. Raises ConfigError when it has no cache."""
    from langchain_cluster.llm import ClusteredLLM

    llm = ClusteredLLM.from_config(config)
    if llm.cluster.keys is None:
        llm.cluster.close()
        raise ConfigError("this config has no cache", file=config, key="cache")
    return llm
