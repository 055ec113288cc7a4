"""How an answer goes over the wire, healthy or with a fault in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, assert_never

import orjson

from langchain_cluster.testing.simulated import faults
from langchain_cluster.testing.simulated.dialect import Ask, Dialect, Stream, Turn
from langchain_cluster.testing.simulated.exchange import Exchange
from langchain_cluster.testing.simulated.latency import draw
from langchain_cluster.testing.simulated.reply import Behaviour

__all__ = ["Answer", "WholeAnswer", "play"]

_EVENTS = "text/event-stream; charset=utf-8"
_PAGE = b"<!doctype html>\n<html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A chat turn, in the wire format it was asked in."""

    dialect: Dialect
    ask: Ask
    turn: Turn
    number: int

    @property
    def streamed(self) -> bool:
        return self.ask.stream

    def filtered(self) -> Answer:
        return replace(self, turn=replace(self.turn, finish="content_filter"))

    def body(self) -> bytes:
        return self.dialect.whole(self.ask, self.turn, self.number)

    def nothing(self) -> dict[str, Any]:
        return self.dialect.nothing(self.ask, self.number)

    def stream(self) -> Stream:
        return self.dialect.stream(self.ask, self.turn, self.number)


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer that is never streamed: vectors, or a list of models."""

    dialect: Dialect
    make: Callable[[], bytes]

    @property
    def streamed(self) -> bool:
        return False

    def filtered(self) -> WholeAnswer:
        return self

    def body(self) -> bytes:
        return self.make()

    def nothing(self) -> dict[str, Any]:
        return {"object": "list", "data": None}

    def stream(self) -> Stream:
        raise NotImplementedError


async def play(
    exchange: Exchange,
    answer: Answer | WholeAnswer,
    behaviour: Behaviour,
    fault: faults.Fault | None,
    rng: Random,
) -> None:
    """Send the answer, whatever is left of it."""
    if isinstance(fault, faults.Hang | faults.Refuse):
        await _instead(exchange, answer.dialect, fault)
        return
    if (seconds := draw(behaviour.latency, rng)) > 0:
        await asyncio.sleep(seconds)
    if isinstance(fault, faults.ContentFilter) and fault.finish:
        answer, fault = answer.filtered(), None
    if isinstance(fault, faults.Instead):
        await _instead(exchange, answer.dialect, fault)
    elif answer.streamed:
        await _stream(exchange, answer, behaviour, fault, rng)
    else:
        await _whole(exchange, answer, fault)


async def _instead(exchange: Exchange, dialect: Dialect, fault: faults.Instead) -> None:
    error = dialect.error
    openai = dialect.name == "openai"
    match fault:
        case faults.Hang():
            await _forever()
        case faults.Refuse():
            exchange.reset()
        case faults.Status(status, body, headers):
            content = error(status) if body is None else body
            raw = content if isinstance(content, bytes) else None
            text = content.encode() if isinstance(content, str) else raw
            kind = "application/json" if text is None else "text/plain"
            exchange.whole(status, orjson.dumps(content) if text is None else text, kind, headers)
        case faults.RateLimited(after, after_ms):
            wait: dict[str, str] = {}
            if after is not None:
                wait["retry-after"] = after if isinstance(after, str) else f"{after:g}"
            if after_ms is not None:
                wait["retry-after-ms"] = f"{after_ms:g}"
            exchange.whole(429, orjson.dumps(error(429)), headers=wait)
        case faults.InsufficientQuota():
            quota = "You exceeded your current quota, please check your plan and billing details."
            credit = "Your credit balance is too low to access the Anthropic API."
            if openai:
                refusal = error(429, quota, type="insufficient_quota", code="insufficient_quota")
            else:
                refusal = error(400, credit)
            exchange.whole(429 if openai else 400, orjson.dumps(refusal))
        case faults.ContextOverflow(style):
            exchange.whole(400, orjson.dumps(_overflow(style or dialect.name)))
        case faults.ContentFilter():
            refusal = (
                error(400, "The response was filtered by the content policy.", code="content_filter")
                if openai
                else error(400, "Output blocked by content filtering policy")
            )
            exchange.whole(400, orjson.dumps(refusal))
        case faults.Html():
            exchange.whole(200, _PAGE, "text/html; charset=utf-8")
        case faults.EmptyBody():
            exchange.whole(200, b"")
        case faults.ErrorBody():
            exchange.whole(200, orjson.dumps(error(500)))
        case _:
            assert_never(fault)


def _overflow(style: str) -> dict[str, Any]:
    if style == "anthropic":
        message = "prompt is too long: 210000 tokens > 200000 maximum"
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    limit = "This model's maximum context length is 8192 tokens. However, "
    if style == "vllm":
        message = limit + (
            "you requested 9256 tokens (9000 in the messages, 256 in the completion). "
            "Please reduce the length of the messages or completion."
        )
        return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}
    message = limit + "your messages resulted in 9000 tokens. Please reduce the length of the messages."
    kind = "invalid_request_error"
    return {
        "error": {"message": message, "type": kind, "param": "messages", "code": "context_length_exceeded"}
    }


async def _whole(exchange: Exchange, answer: Answer | WholeAnswer, fault: faults.Within | None) -> None:
    body = answer.body()
    half = body[: len(body) // 2]
    json = "application/json"
    match fault:
        case None | faults.NoDone():
            exchange.whole(200, body)
        case faults.SlowFirstToken(seconds):
            await asyncio.sleep(seconds)
            exchange.whole(200, body)
        case faults.ResetAfter() | faults.StallAfter():
            exchange.open(200, json, len(body))
            exchange.part(half)
            if isinstance(fault, faults.ResetAfter):
                exchange.reset()
                return
            exchange.flush()
            await _forever()
        case faults.CutAfter() | faults.ChunkedCutAfter():
            exchange.open(200, json, "close" if isinstance(fault, faults.CutAfter) else "chunked")
            exchange.part(half)
            exchange.cut()
        case faults.MalformedChunk() | faults.HalfJson():
            exchange.whole(200, half)
        case faults.ErrorEvent():
            exchange.whole(200, orjson.dumps(answer.dialect.error(500)))
        case faults.NullChoices():
            exchange.whole(200, orjson.dumps(answer.nothing()))
        case _:
            assert_never(fault)


async def _stream(
    exchange: Exchange,
    answer: Answer | WholeAnswer,
    behaviour: Behaviour,
    fault: faults.Within | None,
    rng: Random,
) -> None:
    stream = answer.stream()
    dialect = answer.dialect
    exchange.open(200, _EVENTS, "close" if isinstance(fault, faults.CutAfter) else "chunked")

    async def send(tokens: Iterable[bytes]) -> None:
        exchange.part(stream.lead)
        pause = draw(behaviour.first_token, rng)
        if isinstance(fault, faults.SlowFirstToken):
            pause += fault.seconds
        for token in tokens:
            if pause > 0:
                exchange.flush()
                await asyncio.sleep(pause)
            exchange.part(token)
            pause = draw(behaviour.between_tokens, rng)

    match fault:
        case None | faults.SlowFirstToken():
            await send(stream.tokens)
            exchange.part(stream.tail)
            exchange.part(stream.end)
            exchange.end()
        case faults.NoDone(close):
            await send(stream.tokens)
            exchange.part(stream.tail)
            if close:
                exchange.cut()
            else:
                exchange.end()
        case faults.ResetAfter(tokens):
            await send(stream.tokens[:tokens])
            exchange.reset()
        case faults.CutAfter(tokens) | faults.ChunkedCutAfter(tokens):
            await send(stream.tokens[:tokens])
            exchange.cut()
        case faults.StallAfter(tokens):
            await send(stream.tokens[:tokens])
            exchange.flush()
            await _forever()
        case faults.MalformedChunk(after):
            await send(stream.tokens[:after])
            exchange.part(dialect.half_event())
            exchange.end()
        case faults.ErrorEvent(after):
            await send(stream.tokens[:after])
            exchange.part(dialect.error_event())
            exchange.end()
        case faults.HalfJson():
            exchange.part(dialect.half_event())
            exchange.end()
        case faults.NullChoices():
            exchange.part(dialect.event("message_start", answer.nothing()))
            exchange.part(stream.end)
            exchange.end()
        case _:
            assert_never(fault)


async def _forever() -> None:
    """Until the client leaves or the server stops: both cancel."""
    await asyncio.get_running_loop().create_future()
