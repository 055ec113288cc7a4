"""What is told, as bytes: whole or refused, whatever somebody has put there."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

numpy = pytest.importorskip("numpy")

from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from langchain_cluster.cache.semantic.share.record import (  # noqa: E402
    LARGEST,
    Cleared,
    Dropped,
    Kept,
    Unreadable,
    decode,
    encode,
)

VECTOR = numpy.array([0.6, 0.8, 0.0, 0.0], numpy.float32)


def kept(text: str = "Is it open?", raw: bytes | str = b"Yes.", **other: Any) -> Kept:
    return Kept("scope", text, raw, "digest", **{"expires": None, "vector": VECTOR, "sense": None} | other)


def headed(head: Any, tail: bytes = b"") -> bytes:
    written = json.dumps(head).encode()
    return b"\x01" + len(written).to_bytes(4, "big") + written + tail


def whole() -> bytes:
    raw = encode(kept(sense=VECTOR))
    assert raw is not None
    return raw


@pytest.mark.parametrize("text", ["Is it open?", "line\nbreak *[?]", "half a \ud800 pair", "键" * 300])
@pytest.mark.parametrize("raw", [b"\x00\xff", "words and half a \udfff pair", b""])
@pytest.mark.parametrize("sense", [None, VECTOR[::-1].copy()])
def test_an_entry_comes_as_it_was(text: str, raw: bytes | str, sense: Any) -> None:
    written = encode(kept(text, raw, expires=12.5, sense=sense))
    assert written is not None
    read = decode(written, 4)
    assert isinstance(read, Kept)
    assert (read.scope, read.text, read.raw, read.digest) == ("scope", text, raw, "digest")
    assert read.expires == 12.5
    assert read.vector == pytest.approx(VECTOR, abs=1e-3)
    assert numpy.linalg.norm(read.vector) == pytest.approx(1.0)
    assert (read.sense is None) == (sense is None)


@pytest.mark.parametrize("record", [Dropped("scope", "text \ud800", "digest"), Cleared("me")])
def test_the_others_come_as_they_were(record: Any) -> None:
    written = encode(record)
    assert written is not None
    assert decode(written, 4) == record


def test_what_is_too_large_is_not_told() -> None:
    assert encode(kept(raw=b"x" * LARGEST)) is None
    with pytest.raises(Unreadable):
        decode(whole() + b"x" * LARGEST, 4)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(Unreadable, match="4 dimensions, and the embedder here gives 8"):
        decode(whole(), 8)


HEAD = {"kept": ["s", "t", "d"], "expires": None, "words": False, "dimensions": 4, "sense": 0}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x00", b"\x01", b"\x02" + whole()[1:], b"\x01\xff\xff\xff\xff{}", "text", None, 5,
        pickle.dumps({"kept": 1}), b"\x01" + pickle.dumps([1]),
        headed([]), headed("kept"), headed(7), headed(None), headed({}),
        headed({"kept": "abc"}), headed({"kept": [1, 2, 3]}),
        headed({"kept": ["s", "t"]}), headed({"dropped": ["s", None, "d"]}), headed({"cleared": {}}),
        headed(HEAD), headed(HEAD, b"\x00" * 8), headed(HEAD, b"\xff" * 8),
        headed(HEAD | {"sense": -4}, whole()), headed(HEAD | {"sense": 4.0}, whole()),
        headed(HEAD | {"sense": 10**30}, whole()), headed(HEAD | {"dimensions": "4"}, whole()),
        headed(HEAD | {"expires": "soon"}, numpy.ones(4, "<f2").tobytes()),
        headed(HEAD | {"expires": 1e999}, numpy.ones(4, "<f2").tobytes()),
        b"\x01" + (10_000).to_bytes(4, "big") + b"[" * 10_000,
    ],
)  # fmt: skip
def test_what_we_cannot_have_written_is_refused(raw: Any) -> None:
    with pytest.raises(Unreadable):
        decode(raw, 4)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
@example(b"", 0, 0)
def test_whatever_is_done_to_the_bytes_it_is_a_record_or_refused(noise: bytes, at: int, cut: int) -> None:
    raw = whole()
    for hostile in (noise, raw[:at] + noise + raw[at + cut :], raw[: len(raw) - cut], raw + noise):
        try:
            read = decode(hostile, 4)
        except Unreadable:
            continue
        assert isinstance(read, Kept | Dropped | Cleared)
        if isinstance(read, Kept):
            assert numpy.linalg.norm(read.vector) == pytest.approx(1.0, abs=1e-3)
