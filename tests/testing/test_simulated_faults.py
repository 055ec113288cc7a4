"""Each fault, as it arrives: on the bare socket, and in the clients people use."""

import socket
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import orjson
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from langchain_cluster.testing.simulated import Fault, SimulatedServer, faults

CALL: dict[str, Any] = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "a b c d"}]}
QUIET = 0.3  # seconds: enough for a busy machine to send what it means to send
PATHS = {"openai": "/gpu-1/v1/chat/completions", "anthropic": "/gpu-1/v1/messages"}


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture(params=["openai", "anthropic"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def post(server: SimulatedServer, style: str = "openai", **changes: Any) -> httpx.Response:
    return httpx.post(server.url + PATHS[style], json=CALL | changes, timeout=5)


def wire(
    server: SimulatedServer, style: str, *, stream: bool, patience: float = 5.0
) -> tuple[bytes, bytes, str]:
    """Returns head, body and how it ended: "closed", "reset", or "open" when nothing more came.

    patience: seconds without a byte after which it counts as open.
    """
    body = orjson.dumps(CALL | {"stream": stream})
    request = f"POST {PATHS[style]} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=patience) as sock:
        sock.sendall(request.encode() + body)
        try:
            while data := sock.recv(65536):
                received += data
            ended = "closed"
        except ConnectionResetError:
            ended = "reset"
        except TimeoutError:
            ended = "open"
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest, ended


def tokens(body: bytes) -> int:
    """Text tokens in a stream of either format."""
    return (
        body.count(b'"delta":{"content":"') - body.count(b'"delta":{"content":""') + body.count(b"text_delta")
    )


def openai_model(server: SimulatedServer, timeout: float = 5.0) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=server.openai_url("gpu-1"), model="m", api_key="-", max_retries=0, timeout=timeout
    )


def anthropic_model(server: SimulatedServer) -> ChatAnthropic:
    url = server.anthropic_url("gpu-1")
    return ChatAnthropic(base_url=url, model="m", api_key="-", max_retries=0, timeout=5)


# -- which request is struck -----------------------------------------------


def test_faults_are_per_endpoint_and_per_model(server: SimulatedServer) -> None:
    server.fail(faults.Status(503), endpoint="gpu-2")
    server.fail(faults.Status(500), endpoint="gpu-1", model="bad")
    assert post(server).status_code == 200
    assert post(server, model="bad").status_code == 500
    server.heal(model="bad")
    assert post(server, model="bad").status_code == 200
    server.fail(faults.Status(500))
    server.heal(endpoint="gpu-1")
    assert post(server).status_code == 500
    server.heal()
    assert post(server).status_code == 200


def test_faults_with_times_make_a_sequence(server: SimulatedServer) -> None:
    server.fail(faults.Status(500), times=2)
    server.fail(faults.Status(502), times=1)
    assert [post(server).status_code for _ in range(4)] == [500, 500, 502, 200]
    assert [entry.fault for entry in server.log] == ["Status", "Status", "Status", None]


def test_a_fault_may_come_later(server: SimulatedServer) -> None:
    server.fail(faults.Status(500), after=2)
    assert [post(server).status_code for _ in range(4)] == [200, 200, 500, 500]


def test_a_fault_may_come_by_chance() -> None:
    def run(seed: int) -> list[int]:
        with SimulatedServer(seed=seed) as server, httpx.Client() as client:
            server.fail(faults.Status(500), probability=0.3)
            return [client.post(server.url + PATHS["openai"], json=CALL).status_code for _ in range(100)]

    assert run(1) == run(1) != run(2)
    assert 15 <= run(1).count(500) <= 45


def test_probes_are_struck_only_on_request(server: SimulatedServer) -> None:
    url = server.health_url("gpu-1")
    server.fail(faults.Status(503))
    assert (post(server).status_code, httpx.get(url).status_code) == (503, 200)
    server.heal()
    server.fail(faults.Status(503), on="probes")
    assert (post(server).status_code, httpx.get(url).status_code) == (200, 503)
    server.fail(faults.Status(500), on="everything")
    assert (post(server).status_code, httpx.get(url).status_code) == (500, 503)


# -- in place of an answer -------------------------------------------------

STATUSES = [401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529]


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_has_the_providers_body(server: SimulatedServer, style: str, status: int) -> None:
    server.fail(faults.Status(status))
    for stream in (False, True):
        response = post(server, style, stream=stream)
        error = response.json()["error"]
        assert response.status_code == status
        assert error["message"]
        assert error["type"]
        assert ("code" in error) == (style == "openai")


def test_a_status_may_have_any_body_and_headers(server: SimulatedServer) -> None:
    server.fail(faults.Status(503, {"detail": "x"}, {"retry-after": "7"}), times=1)
    server.fail(faults.Status(502, "<html>"), times=1)
    first, second = post(server), post(server)
    assert (first.json(), first.headers["retry-after"]) == ({"detail": "x"}, "7")
    assert (second.text, second.headers["content-type"]) == ("<html>", "text/plain")


def test_statuses_become_the_sdks_exceptions(server: SimulatedServer) -> None:
    server.fail(faults.Status(401), times=2)
    with pytest.raises(openai.AuthenticationError):
        openai_model(server).invoke("hello")
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_model(server).invoke("hello")
    server.fail(faults.Status(529))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        anthropic_model(server).invoke("hello")


@pytest.mark.parametrize(
    ("fault", "headers"),
    [
        (faults.RateLimited(), {}),
        (faults.RateLimited(retry_after=2), {"retry-after": "2"}),
        (faults.RateLimited(retry_after=0.5), {"retry-after": "0.5"}),
        (
            faults.RateLimited(retry_after="Wed, 21 Oct 2026 07:28:00 GMT", retry_after_ms=250),
            {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after-ms": "250"},
        ),
    ],
)
def test_a_rate_limit_says_when(server: SimulatedServer, fault: Fault, headers: dict[str, str]) -> None:
    server.fail(fault)
    with pytest.raises(openai.RateLimitError) as caught:
        openai_model(server).invoke("hello")
    got = caught.value.response.headers
    assert {name: value for name, value in got.items() if name.startswith("retry")} == headers
    assert caught.value.code == "rate_limit_exceeded"


def test_a_quota_is_not_a_rate(server: SimulatedServer) -> None:
    server.fail(faults.InsufficientQuota())
    with pytest.raises(openai.RateLimitError) as caught:
        openai_model(server).invoke("hello")
    assert caught.value.code == "insufficient_quota"
    with pytest.raises(anthropic.BadRequestError, match="credit balance"):
        anthropic_model(server).invoke("hello")


@pytest.mark.parametrize(
    ("style_of", "words"),
    [
        ("openai", "your messages resulted in 9000 tokens"),
        ("vllm", "9000 in the messages, 256 in the completion"),
        ("anthropic", "prompt is too long: 210000 tokens > 200000 maximum"),
    ],
)
def test_an_overflow_in_each_providers_words(server: SimulatedServer, style_of: Any, words: str) -> None:
    server.fail(faults.ContextOverflow(style_of))
    response = post(server)
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


def test_an_overflow_speaks_the_format_it_was_asked_in(server: SimulatedServer) -> None:
    server.fail(faults.ContextOverflow())
    assert post(server).json()["error"]["code"] == "context_length_exceeded"
    assert "prompt is too long" in post(server, "anthropic").json()["error"]["message"]


def test_a_content_filter_refuses_or_ends_early(server: SimulatedServer) -> None:
    server.fail(faults.ContentFilter(), times=1)
    assert post(server).json()["error"]["code"] == "content_filter"
    server.fail(faults.ContentFilter(finish=True))
    assert post(server).json()["choices"][0]["finish_reason"] == "content_filter"
    assert post(server, "anthropic").json()["stop_reason"] == "refusal"
    assert '"finish_reason":"content_filter"' in post(server, stream=True).text


@pytest.mark.parametrize("stream", [False, True])
def test_answers_that_are_no_answers(server: SimulatedServer, style: str, stream: bool) -> None:
    for fault in (faults.Html(), faults.EmptyBody(), faults.ErrorBody()):
        server.fail(fault, times=1)
    page, empty, error = (post(server, style, stream=stream) for _ in range(3))
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<!doctype html>")
    assert (empty.status_code, empty.content) == (200, b"")
    assert (error.status_code, list(error.json())) == (
        200,
        ["error"] if style == "openai" else ["type", "error"],
    )


@pytest.mark.parametrize("fault", [faults.Html(), faults.NullChoices(), faults.ErrorBody()])
def test_a_malformed_200_is_an_exception_without_a_class(server: SimulatedServer, fault: Fault) -> None:
    server.fail(fault)
    with pytest.raises((ValueError, TypeError, AttributeError)):
        openai_model(server).invoke("hello")


def test_null_choices(server: SimulatedServer) -> None:
    server.fail(faults.NullChoices())
    assert post(server).json()["choices"] is None
    assert post(server, "anthropic").json()["content"] is None
    assert '"choices":null' in post(server, stream=True).text
    assert '"message":null' in post(server, "anthropic", stream=True).text
    embedded = httpx.post(f"{server.openai_url()}/embeddings", json={"model": "m", "input": "x"}).json()
    assert embedded["data"] is None


def test_refusing_is_a_reset_before_any_header(server: SimulatedServer, style: str) -> None:
    server.fail(faults.Refuse())
    assert wire(server, style, stream=True) == (b"", b"", "reset")
    (entry,) = server.log
    assert (entry.status, entry.outcome, entry.fault) == (None, "cut", "Refuse")


def test_hanging_is_silence(server: SimulatedServer, style: str) -> None:
    server.fail(faults.Hang())
    assert wire(server, style, stream=False, patience=QUIET) == (b"", b"", "open")
    with pytest.raises(openai.APITimeoutError):
        openai_model(server, QUIET).invoke("hello")


# -- in the middle of a stream ---------------------------------------------


def test_a_slow_first_token_comes_after_the_headers(server: SimulatedServer, style: str) -> None:
    server.fail(faults.SlowFirstToken(30))
    head, body, ended = wire(server, style, stream=True, patience=QUIET)
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert (tokens(body), ended) == (0, "open")
    assert wire(server, style, stream=False, patience=QUIET) == (b"", b"", "open")
    server.heal()
    server.fail(faults.SlowFirstToken(0.02))
    assert tokens(post(server, style, stream=True).content) == 6
    assert server.log[-1].seconds >= 0.02


def test_a_reset_in_the_middle(server: SimulatedServer, style: str) -> None:
    server.fail(faults.ResetAfter(2))
    _, body, ended = wire(server, style, stream=True)
    assert (tokens(body), ended) == (2, "reset")
    head, body, ended = wire(server, style, stream=False)
    assert ended == "reset"
    assert 0 < len(body) < int(httpx.Headers(header_lines(head))["content-length"])


def test_a_close_delimited_stream_that_is_cut_looks_complete(server: SimulatedServer, style: str) -> None:
    server.fail(faults.CutAfter(3))
    head, body, ended = wire(server, style, stream=True)
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert (tokens(body), ended) == (3, "closed")
    assert server.log[-1].outcome == "cut"
    head, body, ended = wire(server, style, stream=False)
    assert b"content-length" not in head
    assert (body.endswith(b"}"), ended) == (False, "closed")


def test_a_cut_chunked_stream_is_an_error_of_http(server: SimulatedServer, style: str) -> None:
    server.fail(faults.ChunkedCutAfter(3))
    for stream in (True, False):
        head, body, ended = wire(server, style, stream=stream)
        assert b"transfer-encoding: chunked" in head
        assert (body.endswith(b"\r\n0\r\n\r\n"), ended) == (False, "closed")
        with pytest.raises(httpx.RemoteProtocolError):
            post(server, style, stream=stream)


def test_a_stall_keeps_the_connection(server: SimulatedServer, style: str) -> None:
    server.fail(faults.StallAfter(1))
    _, body, ended = wire(server, style, stream=True, patience=QUIET)
    assert (tokens(body), ended) == (1, "open")
    _, body, ended = wire(server, style, stream=False, patience=QUIET)
    assert (len(body) > 0, ended) == (True, "open")
    assert server.wait_until(lambda: server.in_flight() == 0)
    assert {entry.outcome for entry in server.log} == {"client_left"}


def data_lines(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def test_a_malformed_event(server: SimulatedServer, style: str) -> None:
    server.fail(faults.MalformedChunk(after=2))
    *good, last = data_lines(post(server, style, stream=True).text)
    for line in good:
        orjson.loads(line)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(last)
    assert tokens("".join(good).encode()) == 2


def test_half_a_document(server: SimulatedServer, style: str) -> None:
    for fault in (faults.HalfJson(), faults.MalformedChunk()):
        server.fail(fault, times=1)
        response = post(server, style)
        assert response.status_code == 200
        with pytest.raises(ValueError):
            response.json()
    server.fail(faults.HalfJson())
    assert len(data_lines(post(server, style, stream=True).text)) == 1


def test_a_stream_without_its_closing_mark(server: SimulatedServer, style: str) -> None:
    server.fail(faults.NoDone(), times=2)
    text = post(server, style, stream=True).text
    assert tokens(text.encode()) == 6
    assert '"stop"' in text or '"end_turn"' in text
    assert "[DONE]" not in text
    assert "message_stop" not in text
    assert wire(server, style, stream=True, patience=QUIET)[2] == "open"
    server.fail(faults.NoDone(close=True), times=1)
    assert wire(server, style, stream=True)[2] == "closed"
    server.fail(faults.NoDone())
    post(server, style).json()


def test_an_error_event(server: SimulatedServer, style: str) -> None:
    server.fail(faults.ErrorEvent(after=2))
    *before, last = data_lines(post(server, style, stream=True).text)
    assert tokens("".join(before).encode()) == 2
    assert "error" in orjson.loads(last)
    assert "error" in post(server, style).json()


def test_broken_streams_as_the_sdks_show_them(server: SimulatedServer) -> None:
    seen: list[str] = []

    def stream(fault: Fault) -> None:
        model = openai_model(server, QUIET if isinstance(fault, faults.StallAfter) else 5.0)
        server.heal()
        server.fail(fault)
        seen.clear()
        for chunk in model.stream("a b c d"):
            seen.append(chunk.text)

    with pytest.raises(openai.APIError, match="had an error"):
        stream(faults.ErrorEvent(after=2))
    assert "".join(seen) == "gpu-1 says:"
    # The SDK of 2026 wraps a broken read; older ones let the transport's own error through.
    for fault in (faults.ResetAfter(2), faults.ChunkedCutAfter(2), faults.StallAfter(2)):
        with pytest.raises(Exception):
            stream(fault)
        assert "".join(seen) == "gpu-1 says:"
    stream(faults.CutAfter(2))  # nothing at all is raised
    assert "".join(seen) == "gpu-1 says:"


def test_broken_streams_of_anthropic(server: SimulatedServer) -> None:
    model = anthropic_model(server)
    server.fail(faults.ErrorEvent(after=2), times=1)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(model.stream("a b c d"))
    server.fail(faults.CutAfter(2), times=1)
    assert "".join(chunk.text for chunk in model.stream("a b c d")) == "gpu-1 says:"


def test_faults_strike_embeddings_too(server: SimulatedServer) -> None:
    server.fail(faults.Status(503), endpoint="embed")
    answer = httpx.post(f"{server.openai_url('embed')}/embeddings", json={"model": "m", "input": "x"})
    assert answer.status_code == 503


def header_lines(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return [(name, value) for name, value in lines]
