"""HTTP/1.1 as far as clients of a model server speak it: bytes to requests, and response heads.

Written by hand, because the server has to send what a correct library refuses to send, and because
it is a benchmark's other half: this takes about 10 µs a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import unquote

__all__ = ["BadRequest", "Framing", "Reader", "Request", "chunk", "head"]

Framing = Literal["chunked", "close"] | int
"""How a client knows where the body ends; a number is its length in bytes."""

_MAX_HEAD = 64 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


class BadRequest(Exception):
    """What arrived is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Request:
    """path: decoded, without the query. headers: names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Reader:
    """Takes bytes as they come and hands out requests as they get complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """Raises: BadRequest."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > _MAX_HEAD:
                raise BadRequest("headers too long")
            return None
        first, *lines = buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, target, version = first.split(" ")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            if "chunked" in headers.get("transfer-encoding", "").lower():
                found = _chunked(buffer, end + 4)
                if found is None:
                    return None
                body, stop = found
            else:
                stop = end + 4 + int(headers.get("content-length", 0))
                if len(buffer) < stop:
                    return None
                body = bytes(buffer[end + 4 : stop])
        except ValueError as error:
            raise BadRequest(str(error)) from None
        del buffer[:stop]
        wish = headers.get("connection", "").lower()
        return Request(
            method=method,
            path=unquote(target.partition("?")[0]),
            headers=headers,
            body=body,
            keep_alive=wish != "close" and (version == "HTTP/1.1" or wish == "keep-alive"),
        )


def _chunked(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """Returns the body and where it ends, or None when the rest has yet to come."""
    parts: list[bytes] = []
    while True:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(buffer[at:line].split(b";")[0], 16)
        at = line + 2
        if len(buffer) < at + size + 2:
            return None
        if size == 0:
            return b"".join(parts), at + 2
        parts.append(bytes(buffer[at : at + size]))
        at += size + 2


def head(
    status: int, content_type: str, framing: Framing, *, keep_alive: bool, headers: Mapping[str, str]
) -> bytes:
    """A response up to its body."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", f"content-type: {content_type}"]
    if framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif framing != "close":
        lines.append(f"content-length: {framing}")
    if framing == "close" or not keep_alive:
        lines.append("connection: close")
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body. data: not empty, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
