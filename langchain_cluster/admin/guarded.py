"""The gate in front of the app: what is refused is answered here, and a body comes whole, small and soon."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_cluster.admin.gate import READS, Gate, Head, Refusal
from langchain_cluster.admin.rates import Rates
from langchain_cluster.admin.rules import Rules
from langchain_cluster.model.plain import kind_of

_LOG = logging.getLogger("langchain_cluster.admin")

# Of every answer. The page adds what it may load, and that is nothing.
SAFE = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


_LENGTH = re.compile(r"[0-9]{1,18}")


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Guarded:
    """An ASGI app behind a gate.

    Args:
        app: what is asked when nothing speaks against it.
        gate: who may ask what. rules: how much.
        now: monotonic seconds.
    """

    def __init__(
        self, app: ASGIApp, gate: Gate, rules: Rules, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._gate, self._rules, self._now = app, gate, rules, now
        self._reads = Rates(rules.reads_per_minute)
        self._writes = Rates(rules.writes_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        head = head_of(scope)
        try:
            self._admit(head)
            if head.method not in READS:
                receive = _again(await self._body(head, receive))
        except _Refused as refused:
            await refusal(refused.refusal)(scope, receive, send)
            return
        await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What fails behind the gate, as a store that is away, is told by its kind: its text tells more."""
        begun = False

        async def sends(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, _with_safe_headers(sends))
        except Exception as error:
            kind = kind_of(error)
            _LOG.warning("%s of %s failed: %s", scope["method"], scope["path"], kind)
            if not begun:
                await refusal(Refusal(500, f"it failed: {kind}"))(scope, receive, send)

    def _admit(self, head: Head) -> None:
        rates = self._reads if head.method in READS else self._writes
        wait = rates.wait(head.client or "-", self._now())
        if wait:
            seconds = str(math.ceil(wait))
            raise _Refused(Refusal(429, f"too often: again in {seconds} s", (("retry-after", seconds),)))
        refused = self._gate.refuse(head)
        if refused is not None:
            raise _Refused(refused)

    async def _body(self, head: Head, receive: Receive) -> bytes:
        """Read it whole. What is refused here ends the connection: the rest of the body may still come."""
        most, ends = self._rules.body_bytes, (("connection", "close"),)
        too_large = _Refused(Refusal(413, f"a body has at most {most} bytes", ends))
        said = head.one("content-length")
        if said is not None and (not _LENGTH.fullmatch(said) or int(said) > most):
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._rules.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refused(Refusal(400, "the body is not whole", ends))
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise _Refused(Refusal(408, "the body did not come in time", ends)) from None
        kind = (head.one("content-type") or "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            raise _Refused(Refusal(415, "a body is application/json"))
        return bytes(body)


def head_of(scope: Scope) -> Head:
    """The part of an ASGI scope that decides; the path is the one inside the app, where it is mounted."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    client = scope.get("client")
    path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    query = scope.get("query_string", b"").decode("latin-1")
    return Head(scope["method"], path, query, headers, client[0] if client else None)


def refusal(refused: Refusal) -> JSONResponse:
    """What is not answered, in the shape of every error here."""
    return JSONResponse(
        {"error": refused.why, "status": refused.status}, refused.status, {**SAFE, **dict(refused.headers)}
    )


def _again(body: bytes) -> Receive:
    """Hands a body out that was read already."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


def _with_safe_headers(send: Send) -> Send:
    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: list[Any] = list(message.get("headers", []))
            named = {name.lower() for name, _ in given}
            more = [
                (name.encode(), value.encode()) for name, value in SAFE.items() if name.encode() not in named
            ]
            message = {**message, "headers": [*given, *more]}
        await send(message)

    return sends
