"""An HTTP server on a thread whose time is a FakeClock: what fake registries are made of."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any, NamedTuple, Self

from langchain_cluster.testing import FakeClock


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]


class FakeServer:
    """Answers what `answer(request)` says; `changed` is notified whenever anything is different."""

    scheme = "http"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.changed = Condition()
        self.waiting = 0
        self.broken = False
        self.asked: list[Asked] = []
        self.refuse: tuple[int, str] | None = None  # a status and a text, for every request
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True  # the client has left

            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                self.body = self.rfile.read(length)
                fake.asked.append(Asked(self.path, dict(self.headers)))
                if fake.broken or fake.refuse:
                    status, text = fake.refuse or (500, "it is broken")
                    self.say(status, text.encode())
                else:
                    fake.answer(self)

            do_POST = do_PUT = do_GET

            def say(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def json(self, status: int, value: Any, **headers: str) -> None:
                self.say(status, json.dumps(value).encode(), **headers)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def answer(self, request: Any) -> None:
        raise NotImplementedError

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self.scheme = "https"  # the handshake is the handlers': one that fails must not end the server
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._http.server_port}"

    def until(self, happened: Callable[[], bool], end: float) -> None:
        """Wait until `happened()`, the clock shows `end`, or the server breaks."""
        with self.changed:
            self.waiting += 1
            try:
                while not happened() and self.clock.now() < end and not self.broken:
                    self.changed.wait(0.005)  # the clock does not notify
            finally:
                self.waiting -= 1

    def until_waited_for(self) -> None:
        with self.changed:
            while not self.waiting:
                self.changed.wait(0.005)

    def elapse(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def down(self) -> None:
        with self.changed:
            self.broken = True
            self.changed.notify_all()

    def up(self) -> None:
        self.broken = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.down()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
