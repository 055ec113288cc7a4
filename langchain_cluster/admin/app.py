"""The app put together: which address answers what. Who may ask is decided by `gate` before any of this."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from langchain_cluster.admin.gate import Gate
from langchain_cluster.admin.guarded import Guarded
from langchain_cluster.admin.page import CSP, page
from langchain_cluster.admin.prometheus import TEXT, exposition
from langchain_cluster.admin.rules import Rules
from langchain_cluster.admin.stream import Streams
from langchain_cluster.admin.view import View
from langchain_cluster.admin.writes import ACTIONS, OF_ALL, act, fields
from langchain_cluster.cluster import Cluster
from langchain_cluster.config.load import load
from langchain_cluster.errors import ConfigError


class Json(JSONResponse):
    """JSON by orjson: NaN and infinity become null."""

    def render(self, content: Any) -> bytes:
        """As bytes."""
        return orjson.dumps(content)


def build(cluster: Any, *, config: Any, token_env: str, hosts: Sequence[str], rules: Rules) -> Starlette:
    """See `langchain_cluster.admin.create_app`."""
    running = cluster if isinstance(cluster, Cluster) else getattr(cluster, "cluster", None)
    if not isinstance(running, Cluster):
        raise ConfigError(f"{type(cluster).__name__} is neither a Cluster nor has one", key="cluster")
    if config is None:
        config = getattr(cluster, "config_source", None)
    view = View(running, None if config is None else load(config), time.time)
    gate = Gate(token_env, hosts, open_paths={"/"})
    running.events.subscribe(view.ledger.hear)
    app = Starlette(
        routes=[*_reads(view, streams := Streams(view, rules)), *_writes(view)],
        middleware=[Middleware(Guarded, gate=gate, rules=rules)],
        exception_handlers={HTTPException: _no_such, ConfigError: _not_valid},
    )
    app.state.view, app.state.streams = view, streams
    return app


def _reads(view: View, streams: Streams) -> list[BaseRoute]:
    def health(request: Request) -> Response:
        return Json({"status": "ok"})

    def ready(request: Request) -> Response:
        told = view.ready()
        return Json(told, 200 if told["ready"] else 503)

    def endpoint(request: Request) -> Response:
        shape = view.endpoint(request.path_params["id"])
        if shape is None:
            raise HTTPException(404, "no such endpoint")
        return Json(shape)

    def metrics(request: Request) -> Response:
        return PlainTextResponse(exposition(view.cluster, view.snapshot()), media_type=TEXT)

    def shown(request: Request) -> Response:
        return HTMLResponse(page(), headers={"content-security-policy": CSP})

    def told(what: Callable[[], Any]) -> Callable[[Request], Response]:
        return lambda request: Json(what())

    return [
        Route("/", shown),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/endpoints", told(lambda: {"endpoints": view.endpoints()})),
        Route("/endpoints/{id:path}", endpoint),
        Route("/stats", told(view.stats)),
        Route("/cache", told(view.cache)),
        Route("/config", told(view.configuration)),
        Route("/events", streams, methods=["GET"]),
    ]


def _writes(view: View) -> list[BaseRoute]:
    def one(action: str) -> Route:
        async def answer(request: Request) -> Response:
            given = fields(await request.body(), ACTIONS[action][1])
            id = request.path_params["id"]
            if view.cluster.pool.get(id) is None:
                raise HTTPException(404, "no such endpoint")
            done = await run_in_threadpool(act, view.cluster, action, id, given, _by(request))
            return Json({**done, "endpoint": await run_in_threadpool(view.endpoint, id)})

        return Route(f"/endpoints/{{id:path}}/{action}", answer, methods=["POST"])

    def whole(action: str) -> Route:
        do, known = OF_ALL[action]

        async def answer(request: Request) -> Response:
            given: Mapping[str, Any] = fields(await request.body(), known)
            return Json(await run_in_threadpool(do, view.cluster, given, _by(request)))

        return Route(f"/{action}", answer, methods=["POST"])

    return [*map(one, ACTIONS), *map(whole, OF_ALL)]


def _by(request: Request) -> str:
    return request.client.host if request.client else "an unknown place"


def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Json({"error": error.detail, "status": error.status_code}, error.status_code, error.headers)


def _not_valid(request: Request, error: Exception) -> Response:
    return Json({"error": str(error), "status": 400}, 400)
