"""`cached`: anything that is not a model call, behind the same caches: retrieval, queries, tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import Runnable
from langchain_core.runnables.base import coerce_to_runnable
from langchain_core.tools import BaseTool

from langchain_cluster.errors import ConfigError
from langchain_cluster.ports import Clock
from langchain_cluster.steps.keeper import Keeper
from langchain_cluster.steps.runnable import CachedRunnable
from langchain_cluster.steps.tool import CachedTool

__all__ = ["CachedRunnable", "CachedTool", "cached"]


def cached(
    runnable: Any,
    *,
    ttl: float | str | None = None,
    key: Callable[[Any], Any] | None = None,
    cache: Any = None,
    name: str | None = None,
    clock: Clock | None = None,
) -> Any:
    """A Runnable whose results are kept. A tool stays a tool, everything else becomes a `CachedRunnable`.

    Args:
        runnable: a Runnable, a tool or a function. Its errors are never kept.
        ttl: how long a result is kept, seconds > 0 or a text such as "15m"; None: as long as the store does.
        key: from the input to what tells inputs apart (anything JSON-like); None as its result: do not cache.
            By default the whole input counts, with the arguments and whatever of `configurable` is not the
            cluster's or LangGraph's own. Of a tool, the input is the mapping of its arguments.
        cache: a `CacheStore`, or a cluster (or a face of one, such as a `ClusteredLLM`) whose cache it is and
            whose events tell of it. None: a `MemoryCache` of its own.
        name: what the step is, in every process: results are shared by what has the same name. None: read
            off the Runnable; what holds something alive, such as an index, is then known in this process
            only.
        clock: time, for tests; a cluster's own where there is one.

    Raises:
        ConfigError: something given is not valid, or the cluster has no cache.
    """
    keeper = Keeper(runnable, ttl=ttl, key=key, cache=cache, name=name, clock=clock)
    if isinstance(runnable, BaseTool):
        return CachedTool.around(runnable, keeper)
    if not isinstance(runnable, Runnable):
        try:
            runnable = coerce_to_runnable(runnable)
        except TypeError:
            raise ConfigError(
                f"{type(runnable).__name__} is neither a Runnable nor a function", key="cached"
            ) from None
        keeper.identify(runnable)
    return CachedRunnable(runnable, keeper)
