"""One request and the way back to its sender: answers in one write, streams, and rude endings.

The log is told of the end before the last byte leaves, so a client that has its answer finds the
entry complete.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Mapping
from urllib.parse import quote

from langchain_cluster.testing.simulated.http import Framing, Request, chunk, head
from langchain_cluster.testing.simulated.log import Log, Outcome, Seen

__all__ = ["Exchange", "reset"]

_NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN; the client gets ECONNRESET."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class Exchange:
    """Used once: by `whole`, or by `open`, `part` and `flush` and then `end`, `cut` or `reset`."""

    def __init__(self, transport: asyncio.Transport, request: Request, log: Log) -> None:
        self.request = request
        self._transport = transport
        self._log = log
        self._seen: Seen | None = None
        self._number = 0
        self._settled = False
        self._buffer: list[bytes] = []
        self._framing: Framing = 0
        self._status: int | None = None

    @property
    def begun(self) -> bool:
        return self._status is not None

    def arrive(self, seen: Seen) -> int:
        """Returns its number in the log."""
        self._seen = seen
        self._number = self._log.arrive(seen)
        return self._number

    def settle(self, outcome: Outcome) -> None:
        """The first outcome stays."""
        if not self._settled and self._seen is not None:
            self._settled = True
            self._log.settle(
                self._number, self._seen, status=self._status, outcome=outcome, now=time.monotonic()
            )

    def whole(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.open(status, content_type, len(body), headers)
        self.settle("completed")
        if self.request.method != "HEAD":
            self._buffer.append(body)
        self._transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def open(
        self,
        status: int,
        content_type: str,
        framing: Framing,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Headers, which wait for the first flush."""
        self._status = status
        self._framing = framing
        request_id = f"req_{self._number}"
        own = {"x-request-id": request_id, "request-id": request_id, **(headers or {})}
        if self._seen is not None:
            own["x-simulated-endpoint"] = quote(self._seen.endpoint)
        keep = self.request.keep_alive
        self._buffer.append(head(status, content_type, framing, keep_alive=keep, headers=own))

    def part(self, data: bytes) -> None:
        """A part of the body, which waits for the next flush."""
        if data:
            self._buffer.append(chunk(data) if self._framing == "chunked" else data)

    def flush(self) -> None:
        if self._status is not None and not self._settled:
            self._log.answer(self._number, self._status)
        self._transport.write(b"".join(self._buffer))
        self._buffer.clear()

    def end(self) -> None:
        """The end of a stream, as its framing wants it."""
        if self._framing == "chunked":
            self._buffer.append(b"0\r\n\r\n")
        self.settle("completed")
        self._transport.write(b"".join(self._buffer))
        if self._framing == "close":
            self._transport.close()

    def cut(self) -> None:
        """Close cleanly (FIN) after what was sent, whatever was promised."""
        self.settle("cut")
        self._transport.write(b"".join(self._buffer))
        self._transport.close()

    def reset(self) -> None:
        """RST after what was sent."""
        self.settle("cut")
        self._transport.write(b"".join(self._buffer))
        reset(self._transport)
