"""What each error of a provider means, as its SDK raises it from a real socket."""

from __future__ import annotations

import asyncio
import email.utils
import http.client
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest
from langchain_core.exceptions import ContextOverflowError

from langchain_cluster import ClusterExhausted, NoEndpointAvailable
from langchain_cluster.endpoints.classify import Judgement, classify, hung_up, retry_after_of
from langchain_cluster.model.call import Verdict
from langchain_cluster.testing import SimulatedServer, faults

TRANSIENT, THROTTLED, CONFIG = Verdict.TRANSIENT, Verdict.THROTTLED, Verdict.CONFIG
OVERFLOW, CALLER = Verdict.OVERFLOW, Verdict.CALLER
PATIENCE = 0.5  # seconds a model waits for a silent endpoint

ANY = [  # whichever the provider and however it is asked
    (faults.Status(400), CALLER, 400),
    (faults.Status(401), CONFIG, 401),
    (faults.Status(402), CONFIG, 402),
    (faults.Status(403), CONFIG, 403),
    (faults.Status(404), CONFIG, 404),
    (faults.Status(405), CONFIG, 405),
    (faults.Status(408), TRANSIENT, 408),
    (faults.Status(409), TRANSIENT, 409),
    (faults.Status(413), CALLER, 413),
    (faults.Status(418), CALLER, 418),
    (faults.Status(422), CALLER, 422),
    (faults.Status(425), TRANSIENT, 425),
    (faults.Status(500), TRANSIENT, 500),
    (faults.Status(501), CONFIG, 501),
    (faults.Status(502), TRANSIENT, 502),
    (faults.Status(503), TRANSIENT, 503),
    (faults.Status(504), TRANSIENT, 504),
    (faults.Status(529), TRANSIENT, 529),
    (faults.Status(502, "<html>Bad gateway</html>"), TRANSIENT, 502),
    (faults.Status(503, "", {"retry-after": "7"}), THROTTLED, 503),
    (faults.Status(400, "this model's maximum context length is 4096 tokens"), OVERFLOW, 400),
    (faults.Status(413, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}), OVERFLOW, 413),
    (faults.RateLimited(), THROTTLED, 429),
    (faults.RateLimited(7), THROTTLED, 429),
    (faults.RateLimited(retry_after_ms=1500), THROTTLED, 429),
    (faults.InsufficientQuota(), CONFIG, None),
    (faults.ContentFilter(), CALLER, 400),
    (faults.ContextOverflow(), OVERFLOW, 400),
    (faults.ContextOverflow("openai"), OVERFLOW, 400),
    (faults.ContextOverflow("vllm"), OVERFLOW, 400),
    (faults.ContextOverflow("anthropic"), OVERFLOW, 400),
    (faults.Refuse(), TRANSIENT, None),
]
"""(fault, verdict, status)"""

WHOLE = [faults.Html(), faults.EmptyBody(), faults.HalfJson(), faults.ErrorBody()]
"""A 200 that is no answer."""

BROKEN = [faults.ResetAfter(2), faults.ChunkedCutAfter(2), faults.MalformedChunk(2), faults.ErrorEvent(2)]
BROKEN += [faults.ErrorEvent(0)]
"""A stream that breaks, and tells."""

WAYS = ("invoke", "stream", "ainvoke", "astream")


def told(fault: Any) -> str:
    return repr(fault).replace("headers={}", "").replace("body=None, ", "").replace(" ", "")[:60]


@pytest.fixture(scope="session")
def impatient(openai: Any, anthropic: Any) -> dict[str, Any]:
    """One model per provider, whose SDK does not retry and does not wait long."""
    return {
        "openai": openai("bad", max_retries=0, timeout=PATIENCE),
        "anthropic": anthropic("bad", max_retries=0, timeout=PATIENCE),
    }


@pytest.fixture
def raised(impatient: dict[str, Any], provider: str, runner: asyncio.Runner) -> Callable[[str], Any]:
    """Asks in one way; what it raised."""
    model = impatient[provider]

    async def ask(way: str) -> None:
        if way == "ainvoke":
            await model.ainvoke("hello you there")
        else:
            async for _ in model.astream("hello you there"):
                pass

    def raised(way: str) -> BaseException:
        with pytest.raises(Exception) as caught:  # noqa: PT012  (four ways of one statement)
            if way == "invoke":
                model.invoke("hello you there")
            elif way == "stream":
                list(model.stream("hello you there"))
            else:
                runner.run(ask(way))
        return caught.value

    return raised


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("fault", "verdict", "status"), ANY, ids=[told(case[0]) for case in ANY])
def test_an_error_before_the_answer(
    fault: Any, verdict: Verdict, status: int | None, way: str, server: SimulatedServer, raised: Any
) -> None:
    server.fail(fault, endpoint="bad")
    judged = classify(raised(way))
    assert judged.verdict is verdict, judged
    if status is not None:
        assert judged.status == status
    wanted = {"RateLimited(retry_after=7": 7.0, "RateLimited(retry_after=None,retry_after_ms=1500": 1.5}
    wanted["Status(status=503,body='',headers={'retry-after'"] = 7.0
    asked = next((seconds for start, seconds in wanted.items() if told(fault).startswith(start)), None)
    assert judged.retry_after == asked


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", WHOLE, ids=told)
def test_a_200_that_is_no_answer(fault: Any, way: str, server: SimulatedServer, raised: Any) -> None:
    server.fail(fault, endpoint="bad")
    judged = classify(raised(way))
    assert judged.verdict is TRANSIENT, judged


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])  # a stream just ends: see test_stream.py
def test_an_answer_without_choices(way: str, server: SimulatedServer, raised: Any) -> None:
    server.fail(faults.NullChoices(), endpoint="bad")
    assert classify(raised(way)) == Judgement(TRANSIENT)


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("fault", BROKEN, ids=told)
def test_a_stream_that_breaks(fault: Any, way: str, server: SimulatedServer, raised: Any) -> None:
    server.fail(fault, endpoint="bad")
    judged = classify(raised(way))
    assert judged.verdict is TRANSIENT, judged


@pytest.mark.parametrize("way", WAYS)
def test_silence(way: str, server: SimulatedServer, raised: Any) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    judged = classify(raised(way))
    assert judged == Judgement(TRANSIENT)


# -- without any SDK --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TimeoutError(), TRANSIENT),
        (ConnectionResetError(), TRANSIENT),
        (ConnectionRefusedError(), TRANSIENT),
        (BrokenPipeError(), TRANSIENT),
        (OSError(113, "No route to host"), TRANSIENT),
        (EOFError(), TRANSIENT),
        (ValueError("Expecting value: line 1 column 1 (char 0)"), TRANSIENT),
        (TypeError("'NoneType' object is not iterable"), TRANSIENT),
        (TypeError("Completions.create() got an unexpected keyword argument 'temprature'"), CALLER),
        (ZeroDivisionError(), TRANSIENT),
        (RuntimeError("something"), TRANSIENT),
        (RuntimeError("Event loop is closed"), Verdict.STALE_LOOP),
        (RuntimeError("<asyncio.Lock> is bound to a different event loop"), Verdict.STALE_LOOP),
        (asyncio.CancelledError(), Verdict.ABANDONED),
        (GeneratorExit(), Verdict.ABANDONED),
        (KeyboardInterrupt(), Verdict.ABANDONED),
        (ContextOverflowError("too long"), OVERFLOW),
        (NoEndpointAvailable(), TRANSIENT),
        (ClusterExhausted(()), TRANSIENT),
    ],
    ids=repr,
)
def test_exceptions_of_the_standard_library_langchain_and_our_own(
    error: BaseException, verdict: Verdict
) -> None:
    assert classify(error) == Judgement(verdict)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
@pytest.mark.parametrize(
    "name",
    ["ConnectError", "ReadTimeout", "ConnectTimeout", "PoolTimeout", "RemoteProtocolError", "ReadError"],
)
def test_transport_errors_of_http_clients(library: Any, name: str) -> None:
    assert classify(getattr(library, name)("x")) == Judgement(TRANSIENT)


GONE = "Server disconnected without sending a response."


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (httpx.RemoteProtocolError(GONE), True),
        (httpx2.RemoteProtocolError(GONE), True),
        (http.client.RemoteDisconnected("Remote end closed connection without response"), True),
        (httpx.RemoteProtocolError("peer closed connection without sending complete message body"), False),
        (httpx.ReadError(""), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
    ],
)
@pytest.mark.parametrize("wrapped", [0, 1, 2])
def test_who_closes_a_connection_without_a_word_hung_up(error: Exception, is_so: bool, wrapped: int) -> None:
    for _ in range(wrapped):
        outer = ConnectionError("Connection error.")
        outer.__cause__ = error
        error = outer
    assert hung_up(error) is is_so


def test_causes_in_a_circle_have_an_end() -> None:
    one, other = ValueError(), ValueError()
    one.__context__, other.__context__ = other, one
    assert not hung_up(one)


def refusal(library: Any, status: int, **headers: str) -> Any:
    request = library.Request("POST", "http://endpoint.example")
    response = library.Response(status, headers=headers, request=request)
    return library.HTTPStatusError("x", request=request, response=response)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
@pytest.mark.parametrize(
    ("status", "verdict"), [(503, TRANSIENT), (429, THROTTLED), (401, CONFIG), (400, CALLER)]
)
def test_a_status_of_an_http_client(library: Any, status: int, verdict: Verdict) -> None:
    assert classify(refusal(library, status)) == Judgement(verdict, status)


@pytest.mark.parametrize(
    ("error", "verdict", "status"),
    [
        ({"body": {"error": {"code": "insufficient_quota"}}, "status_code": 429}, CONFIG, 429),
        ({"body": {"type": "insufficient_quota"}, "status_code": 429}, CONFIG, 429),
        ({"code": "context_length_exceeded"}, OVERFLOW, None),
        ({"http_status": 503}, TRANSIENT, 503),
        ({"status": 403}, CONFIG, 403),
        ({"status_code": True}, TRANSIENT, None),
        ({"status_code": 200}, TRANSIENT, None),
        ({"status_code": "503"}, TRANSIENT, None),
        ({"status_code": 400, "body": "input tokens exceed the limit"}, OVERFLOW, 400),
        ({"status_code": 400, "body": {"error": None}}, CALLER, 400),
        ({"status_code": 400, "body": {"error": "plain"}}, CALLER, 400),
        ({"status_code": 400, "code": 7}, CALLER, 400),
    ],
    ids=repr,
)
def test_facts_wherever_a_provider_puts_them(
    error: dict[str, Any], verdict: Verdict, status: int | None
) -> None:
    failure = Exception("no")
    for name, value in error.items():
        setattr(failure, name, value)
    judged = classify(failure)
    assert (judged.verdict, judged.status) == (verdict, status)


class APIError(Exception):
    """As the OpenAI SDK raises it for an error event inside a stream: no status."""

    def __init__(self, message: str, **body: Any) -> None:
        super().__init__(message)
        self.message, self.body, self.code = message, body, body.get("code")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (APIError("The server had an error"), TRANSIENT),
        (APIError("Rate limit reached for requests", code="rate_limit_exceeded"), THROTTLED),
        (APIError("overloaded_error: Overloaded"), TRANSIENT),
        (APIError("no", code=429), THROTTLED),
        (APIError("no", code="503"), TRANSIENT),
        (APIError("no", code="401"), CONFIG),
        (APIError("This model's maximum context length is 10 tokens"), OVERFLOW),
        (APIError("no", code="context_length_exceeded"), OVERFLOW),
    ],
    ids=repr,
)
def test_an_error_event_inside_a_stream_says_what_it_is_in_words(error: Exception, verdict: Verdict) -> None:
    assert classify(error).verdict is verdict


# -- Retry-After ------------------------------------------------------------------------------------

NOW = 1_700_000_000.0  # epoch seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": " 7 "}, 7.0),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "-1", "retry-after": "7"}, 7.0),
        ({"retry-after": email.utils.formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": email.utils.formatdate(NOW + 90)}, 90.0),
        ({"retry-after": email.utils.formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 99 Oct 2015 99:99:99 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 999999999999 07:28:00 GMT"}, None),
        ({}, None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
def test_every_form_of_retry_after(library: Any, headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_of(refusal(library, 429, **headers), NOW) == seconds


def test_an_error_without_a_response_asks_for_no_time() -> None:
    assert retry_after_of(ValueError("x")) is None
    error = ValueError("x")
    error.response = None  # type: ignore[attr-defined]
    assert retry_after_of(error) is None
