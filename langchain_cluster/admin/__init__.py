"""The admin app: look at a running cluster, and act on it, over HTTP. Its library is an extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_cluster.admin.rules import TOKEN_ENV, Rules
from langchain_cluster.extras import need

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["TOKEN_ENV", "Rules", "create_app"]


def create_app(
    cluster: Any,
    *,
    config: Any = None,
    token_env: str = TOKEN_ENV,
    hosts: Sequence[str] = (),
    rules: Rules = Rules(),  # noqa: B008  (frozen)
) -> Starlette:
    """An ASGI app over a cluster: run it with uvicorn, or mount it in an app of your own.

    It begins to count at once what events tell, and neither starts nor closes the cluster.

    Args:
        cluster: a `Cluster`, or anything with one as `.cluster`, such as a `ClusteredLLM`.
        config: what `/config` shows, a file, mapping or `ClusterConfig`; by default what the model was made
            from, else what the cluster itself knows.
        token_env: the environment variable that holds the token for writes, and for reads from elsewhere.
            It is read anew at each request; unset or empty, all of that is refused.
        hosts: further values of the Host header that are answered, without port; "*" for any. Those of
            this machine's loopback always are.
        rules: limits on bodies, rates and streams.

    Raises:
        ConfigError: `cluster` is none, or one of `hosts` or `token_env` is no such name.
        ImportError: the extra `admin` is not installed.
    """
    need("starlette", extra="admin", for_="The admin app")
    from langchain_cluster.admin.app import build

    return build(cluster, config=config, token_env=token_env, hosts=hosts, rules=rules)
