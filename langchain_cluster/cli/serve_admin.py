"""`serve-admin`: run the cluster of a config with its admin app in front."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Annotated, Any

import typer

from langchain_cluster.admin.rules import TOKEN_ENV
from langchain_cluster.cli.screen import remark
from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need

EPILOG = "Example:\n\nlangchain-cluster serve-admin cluster.yaml --port 9465"
CONNECTIONS = 256  # at one time; further ones are told to come again


def serve_admin(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A config file.")],
    host: Annotated[str, typer.Option(help="Where to listen; other places need the token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: one that is free.")] = 9465,
    token_env: Annotated[
        str, typer.Option(metavar="NAME", help="The variable that holds the token for writes.")
    ] = TOKEN_ENV,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further Host header to answer. Repeat for more."),
    ] = None,
) -> None:
    """Serve the admin app of a config's cluster: a dashboard, events and actions. Ctrl-C ends it."""
    try:
        uvicorn = need("uvicorn", extra="admin", for_="serve-admin")
        from langchain_cluster.admin import create_app
        from langchain_cluster.llm import ClusteredLLM

        if not os.environ.get(token_env, "").strip():
            if not _is_loopback(host):
                raise ConfigError(
                    f"{host} can be reached from elsewhere: set {token_env} first, to a long random text",
                    key="--host",
                )
            remark(f"{token_env} is not set: everything can be read, and nothing changed", stderr=True)
        llm = ClusteredLLM.from_config(config)
        app = create_app(llm, token_env=token_env, hosts=[*(allow_host or []), *_named(host)])
    except ImportError as missing:
        raise ConfigError(str(missing)) from None
    settings = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        proxy_headers=False,  # who asks is who connects; what a proxy says of others makes them strangers
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    settings.load()
    listening = settings.bind_socket()
    place = f"[{host}]" if ":" in host else host
    remark(f"http://{place}:{listening.getsockname()[1]}/", stderr=True)
    server = uvicorn.Server(settings)
    stop = server.handle_exit

    def stopped(number: int, frame: Any) -> None:
        app.state.streams.end()  # or the server would wait for them in vain
        stop(number, frame)

    server.handle_exit = stopped
    with llm.cluster:
        server.run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _named(host: str) -> list[str]:
    return [] if host in ("0.0.0.0", "::") else [host]
