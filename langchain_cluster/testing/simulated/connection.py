"""Sockets: reads requests one by one, finds the endpoint and the fault, and lets play.py answer."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any, cast

import orjson

from langchain_cluster.testing.simulated.anthropic import Anthropic
from langchain_cluster.testing.simulated.dialect import Ask, Dialect, Unreadable
from langchain_cluster.testing.simulated.embeddings import embed
from langchain_cluster.testing.simulated.exchange import Exchange
from langchain_cluster.testing.simulated.http import BadRequest, Reader, Request
from langchain_cluster.testing.simulated.log import Log, Seen
from langchain_cluster.testing.simulated.openai import OpenAI
from langchain_cluster.testing.simulated.play import Answer, WholeAnswer, play
from langchain_cluster.testing.simulated.reply import Behaviour, compose
from langchain_cluster.testing.simulated.rules import Rules

__all__ = ["Site"]

_OPENAI = OpenAI()
_ANTHROPIC = Anthropic()
_PATHS = {
    "/v1/chat/completions": "POST",
    "/v1/messages": "POST",
    "/v1/embeddings": "POST",
    "/v1/models": "GET",
    "/health": "GET",
}


class Site:
    """What all connections share. `behaviours` and `rules` are changed by other threads."""

    def __init__(self, *, name: str, log: Log, rules: Rules, rng: Random) -> None:
        self.name = name
        self.log = log
        self.rules = rules
        self.rng = rng
        self.behaviours: dict[str | None, Behaviour] = {None: Behaviour()}
        self.connections: set[_Connection] = set()
        self.stopping = False

    def behaviour(self, endpoint: str | None) -> Behaviour:
        return self.behaviours.get(endpoint) or self.behaviours[None]

    def connection(self) -> asyncio.Protocol:
        return _Connection(self)

    async def close(self) -> None:
        """Until no socket and no task is left."""
        self.stopping = True
        while self.connections:
            endings = [ending for one in list(self.connections) for ending in one.abort()]
            await asyncio.gather(*endings, return_exceptions=True)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request, whatever it is. Cancelled when the client leaves."""
        try:
            await self._answer(exchange)
        except asyncio.CancelledError:
            exchange.settle("stopped" if self.stopping else "client_left")
            raise
        except Exception as error:  # a `reply` of the test's own, most likely: tell the client
            if exchange.begun:
                exchange.reset()
            else:
                message = f"{type(error).__name__}: {error}"
                exchange.whole(500, orjson.dumps(_OPENAI.error(500, message)))

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        endpoint, path = self._place(request.path)
        method = "GET" if request.method == "HEAD" else request.method
        dialect: Dialect = _ANTHROPIC if path == "/v1/messages" else _OPENAI
        body = _json(request.body)
        fields = body if isinstance(body, dict) else {}
        model = fields.get("model")
        known = _PATHS.get(path) == method
        fault = self.rules.strike(endpoint, model, probe=method != "POST") if known else None
        number = exchange.arrive(
            Seen(
                at=time.monotonic(),
                endpoint=endpoint,
                model=model,
                path=request.path,
                method=request.method,
                headers=request.headers,
                body=body,
                stream=bool(fields.get("stream")),
                fault=None if fault is None else type(fault).__name__,
            )
        )
        behaviour = self.behaviour(endpoint)
        if not known:
            message = f"Unknown request URL: {request.method} {request.path}."
            exchange.whole(404, orjson.dumps(dialect.error(404, message, code="unknown_url")))
            return
        try:
            answer = self._meant(dialect, path, endpoint, body, behaviour, number)
        except Unreadable as error:
            exchange.whole(400, orjson.dumps(dialect.error(400, str(error))))
            return
        if model is not None and behaviour.models and model not in behaviour.models:
            exchange.whole(404, orjson.dumps(dialect.error(404, f"The model `{model}` does not exist")))
            return
        if method == "GET":
            behaviour = Behaviour()  # probes do not wait for the model
        await play(exchange, answer, behaviour, fault, self.rng)

    def _meant(
        self, dialect: Dialect, path: str, endpoint: str, body: Any, behaviour: Behaviour, number: int
    ) -> Answer | WholeAnswer:
        """Raises: Unreadable."""
        if path == "/health":
            return WholeAnswer(dialect, lambda: orjson.dumps({"status": "ok", "endpoint": endpoint}))
        if path == "/v1/models":
            return WholeAnswer(dialect, lambda: _models(behaviour))
        if not isinstance(body, dict):
            raise Unreadable("We could not parse the JSON body of your request.")
        if path == "/v1/embeddings":
            vectors = embed(body, behaviour.dimensions)
            return WholeAnswer(dialect, lambda: vectors)
        ask: Ask = dialect.read(endpoint, body)
        return Answer(dialect, ask, compose(ask, behaviour), number)

    def _place(self, path: str) -> tuple[str, str]:
        """Returns the endpoint's name and the path behind it."""
        for known in _PATHS:
            if path.endswith(known):
                return path[: -len(known)].strip("/") or self.name, known
        return self.name, path


class _Connection(asyncio.Protocol):
    def __init__(self, site: Site) -> None:
        self._site = site
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._site.connections.add(self)
        if self._site.stopping:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._task is None:
            self._next()

    def _next(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        try:
            request = self._reader.next()
        except BadRequest as error:
            hopeless = Request("GET", "/", {}, b"", keep_alive=False)
            Exchange(transport, hopeless, self._site.log).whole(400, str(error).encode(), "text/plain")
            transport.close()
            return
        if request is not None:
            exchange = Exchange(transport, request, self._site.log)
            self._task = asyncio.get_running_loop().create_task(self._site.serve(exchange))
            self._task.add_done_callback(lambda _: self._done(request))

    def _done(self, request: Request) -> None:
        self._task = None
        if self._transport is not None and not request.keep_alive:
            self._transport.close()
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.connections.discard(self)
        self._transport = None
        self._gone.set_result(None)
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> list[asyncio.Future[None]]:
        """Close at once. Returns what to wait for."""
        if self._transport is not None:
            self._transport.abort()
        if self._task is None:
            return [self._gone]
        self._task.cancel()
        return [self._gone, self._task]


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _models(behaviour: Behaviour) -> bytes:
    names = behaviour.models or ("simulated",)
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "simulated"} for name in names]
    return orjson.dumps({"object": "list", "data": data})
