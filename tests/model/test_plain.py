"""What is repeated of an error that somebody else wrote."""

from __future__ import annotations

import pytest

from langchain_cluster.model.plain import LONGEST, kind_of, plain


@pytest.mark.parametrize(
    "text",
    [
        "Connection refused",
        "Connection error.",
        "Request timed out.",
        "All connection attempts failed",
        "Server disconnected without sending a response.",
        "peer closed connection without sending complete message body (incomplete chunked read)",
        "Temporary failure in name resolution",
        "The server is currently overloaded, please try again later",
        "insufficient_quota",
        "context_length_exceeded",
        "invalid_api_key",
        "model_not_found",
        "",
    ],
)
def test_what_says_nothing_is_repeated(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-abcdef",
        "unknown token 4711",
        "the prompt 'tell me of foxes' was refused",
        "connection refused: Straße",
        "сервер",
        "the server the server " * 20,
    ],
)
def test_what_may_say_something_is_not(text: str) -> None:
    assert plain(text) == ""


def test_lines_are_joined() -> None:
    assert plain("connection\n  refused\n") == "connection refused"
    assert len(plain("no " * 60)) <= LONGEST


class WrappedError(Exception):
    """As a client raises it."""


def test_an_error_is_told_by_its_kind_and_its_code() -> None:
    assert kind_of(ConnectionError("refused")) == "ConnectionError: refused"
    assert kind_of(ValueError("about foxes")) == "ValueError"
    assert kind_of(WrappedError("x"), 429, "insufficient_quota") == "429 WrappedError (insufficient_quota)"
    assert kind_of(WrappedError("x"), 500, "fox_error") == "500 WrappedError"


def test_what_the_system_said_is_found_below() -> None:
    error = WrappedError("to http://host/?key=1")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused", "/secret/path")
    assert kind_of(error) == "WrappedError: Connection refused"


def test_a_ring_of_causes_ends() -> None:
    one, other = ValueError("fox"), ValueError("fox")
    one.__cause__, other.__cause__ = other, one
    assert kind_of(one) == "ValueError"
