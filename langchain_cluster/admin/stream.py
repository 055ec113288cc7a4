"""Events as they happen, and a snapshot every second, to a browser: server-sent events, and bounds.

So many streams at once, so long each, so many events unread, and so long without anybody reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from langchain_cluster.admin.gate import Refusal
from langchain_cluster.admin.guarded import head_of, refusal
from langchain_cluster.admin.rules import Rules
from langchain_cluster.admin.shapes import CALLS
from langchain_cluster.admin.view import View
from langchain_cluster.model.events import Event

UNREAD = 1000  # events kept for a client; it is told how many more there were

_TOLD = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
_HEADERS = [(name.encode(), value.encode()) for name, value in _TOLD.items()]


class Streams:
    """All event streams of an app, as an ASGI endpoint. `?calls=1` also tells what happens at every call."""

    def __init__(self, view: View, rules: Rules) -> None:
        self._view, self._rules = view, rules
        self.open = 0
        self.ending = False

    def end(self) -> None:
        """End those that are open within `every` seconds, and open no more: the server stops."""
        self.ending = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await Response(headers=_TOLD)(scope, receive, send)
            return
        if self.ending or self.open >= self._rules.streams:
            why = "the server stops" if self.ending else f"{self._rules.streams} streams are open already"
            full = Refusal(503, why, (("retry-after", "10"),))
            await refusal(full)(scope, receive, send)
            return
        self.open += 1
        try:
            await _Stream(self, self._view, self._rules, calls=head_of(scope).query == "calls=1").run(
                receive, send
            )
        except TimeoutError:
            pass  # nobody reads; the server closes the connection, as the answer has no end
        finally:
            self.open -= 1


class _Stream:
    def __init__(self, all: Streams, view: View, rules: Rules, *, calls: bool) -> None:
        self._all, self._view, self._rules, self._calls = all, view, rules, calls
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._unread: deque[Event] = deque(maxlen=UNREAD)
        self._heard = self._told = 0

    def _hear(self, event: Event) -> None:
        """From any thread."""
        if self._calls or not isinstance(event, CALLS):
            self._unread.append(event)
            self._heard += 1
            try:
                self._loop.call_soon_threadsafe(self._news.set)
            except RuntimeError:
                pass  # the loop is closed, and this is about to be unsubscribed

    async def run(self, receive: Receive, send: Send) -> None:
        self._send = send
        gone = asyncio.create_task(_until_gone(receive))
        leave = self._view.cluster.events.subscribe(self._hear)
        try:
            await self._put({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._write(b"retry: 2000\n\n")
            for shape in list(self._view.ledger.recent):
                await self._write(_message(shape["kind"], shape))
            await self._tell(gone)
            await self._put({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leave()
            gone.cancel()

    async def _tell(self, gone: asyncio.Task[None]) -> None:
        ends, snapshot_at = self._loop.time() + self._rules.stream_seconds, 0.0
        while not gone.done() and (now := self._loop.time()) < ends:
            if now >= snapshot_at:
                await self._write(_message("snapshot", await run_in_threadpool(self._view.snapshot)))
                snapshot_at = now + self._rules.every
                if self._view.cluster.closed or self._all.ending:
                    return
            await self._news_or(gone, snapshot_at - self._loop.time())
            await self._tell_news()

    async def _news_or(self, gone: asyncio.Task[None], seconds: float) -> None:
        news = asyncio.create_task(self._news.wait())
        try:
            await asyncio.wait({news, gone}, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    async def _tell_news(self) -> None:
        self._news.clear()
        news: list[bytes] = []
        heard = self._heard
        while self._unread and len(news) < UNREAD:
            event = self._unread.popleft()
            news.append(_message(type(event).__name__, self._view.ledger.shape(event)))
        lost = heard - self._told - len(news)
        self._told = heard
        if lost > 0:
            news.insert(0, _message("lost", {"kind": "lost", "events": lost}))
        if news:
            await self._write(b"".join(news))

    async def _write(self, body: bytes) -> None:
        await self._put({"type": "http.response.body", "body": body, "more_body": True})

    async def _put(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(self._rules.stall_seconds):
            await self._send(message)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _message(kind: str, shape: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(shape) + b"\n\n"
