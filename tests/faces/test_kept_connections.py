"""A server closes a connection that the client has kept: whoever asks on it is answered by the same server.

Every HTTP client keeps connections, and a server may close one in the very moment it is used again.
"""

from __future__ import annotations

import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Thread

import pytest
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.model.events import AttemptEnded, Event
from tests.faces.faces import Face

ANSWER = {"role": "assistant", "content": "hello"}


class Server(socketserver.ThreadingTCPServer):
    """Answers so many requests of each connection, and closes it when it has read the next.

    Attributes:
        each: requests it answers of one connection. left: requests it answers in all.
        asked: requests it has read.
    """

    daemon_threads = True

    def __init__(self, each: int = 1, left: int = 1_000_000) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.each, self.left, self.asked, self.lock = each, left, 0, Lock()

    def model(self) -> ChatOpenAI:
        return ChatOpenAI(base_url=f"http://127.0.0.1:{self.server_address[1]}/v1", model="m", api_key="-")


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    server: Server

    def handle(self) -> None:
        for _ in range(self.server.each):
            body = self.read()
            with self.server.lock:
                self.server.left -= 1
                answers = self.server.left >= 0
            if body is None or not answers:
                return
            self.answer(streaming=bool(body.get("stream")))
        self.read()

    def read(self) -> dict[str, object] | None:
        """The body of the next request; None when the client has gone."""
        size = 0
        if not self.rfile.readline():
            return None
        while line := self.rfile.readline().strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        with self.server.lock:
            self.server.asked += 1
        body: dict[str, object] = json.loads(self.rfile.read(size))
        return body

    def answer(self, *, streaming: bool) -> None:
        """Say hello, and keep the connection."""
        part = {"index": 0, "finish_reason": "stop", "delta" if streaming else "message": ANSWER}
        whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [part]}
        text = f"data: {json.dumps(whole)}\n\ndata: [DONE]\n\n" if streaming else json.dumps(whole)
        kind = "text/event-stream" if streaming else "application/json"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n"
        self.wfile.write((head + text).encode())


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def old() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


@pytest.fixture
def other() -> Iterator[Server]:
    with serving(Server(each=1_000_000)) as server:
        yield server


def at_home(old: Server, other: Server) -> tuple[ClusteredLLM, list[AttemptEnded]]:
    """A cluster that asks `old` first, and what it says of attempts that failed."""
    llm = ClusteredLLM(
        [Endpoint("old", old.model()), Endpoint("other", other.model(), priority=1)],
        policy=Policy(timeout=20.0),
    )
    failed: list[AttemptEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, AttemptEnded):
            failed.append(event)

    llm.cluster.events.subscribe(listen)
    return llm, failed


def test_a_connection_kept_too_long_is_nobodys_fault(plain_face: Face, old: Server, other: Server) -> None:
    llm, failed = at_home(old, other)
    for _ in range(6):
        answer = plain_face.ask(llm, "hello")
        assert answer.text == "hello"
        assert answer.response_metadata["cluster"]["endpoint"] == "old"
        assert answer.response_metadata["cluster"]["attempts"] == 1
    stats = llm.cluster.stats()
    assert (stats["endpoints"]["old"]["served"], stats["endpoints"]["old"]["failed"]) == (6, 0)
    assert failed == []
    if plain_face.method != "stream":  # for which this client keeps no connections
        assert old.asked > 6, "some were asked on a connection that was closed"
    assert other.asked == 0


def test_who_hangs_up_on_a_new_connection_too_has_failed(
    plain_face: Face, old: Server, other: Server
) -> None:
    llm, failed = at_home(old, other)
    assert plain_face.ask(llm, "hello").response_metadata["cluster"]["endpoint"] == "old"
    old.left = 0
    answer = plain_face.ask(llm, "hello")
    assert answer.response_metadata["cluster"]["endpoint"] == "other"
    assert answer.response_metadata["cluster"]["attempts"] == 2
    assert [event.report.endpoint for event in failed] == ["old"]
    assert old.asked == 3, "it has answered one, and then was asked twice"
    plain_face.ask(llm, "hello")
    assert old.asked == 4, "it is no longer somebody who was well a moment ago"
    assert llm.cluster.stats()["endpoints"]["old"]["failed"] == 2
