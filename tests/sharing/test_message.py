"""What travels between processes is small, and is read as if an enemy had written it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster import Endpoint
from langchain_cluster.model.hearsay import LONGEST, Hearsay, Said, place_of
from langchain_cluster.sharing.message import MOST_BYTES, MOST_CHARACTERS, decode, encode

OPEN = Hearsay(Said.OPEN, "gpu-1", "8a1b", 4.25, "me")
WRITTEN: dict[str, Any] = {
    "v": 1, "from": "me", "said": "open", "endpoint": "gpu-1", "place": "8a1b", "seconds": 4.25,
    "group": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        OPEN,
        replace(OPEN, said=Said.CLOSED, seconds=0.0),
        replace(OPEN, said=Said.COOLING, group="org-1"),
        replace(OPEN, said=Said.EJECTED, endpoint="größe-2"),
    ],
)
def test_what_is_written_is_read(said: Hearsay) -> None:
    raw = encode(said)
    assert raw is not None
    assert decode(raw) == said


def test_a_message_is_this() -> None:
    raw = encode(OPEN)
    assert raw is not None
    assert orjson.loads(raw) == WRITTEN


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"v": 1.0}, {"v": True}, {"v": "1"}, {"from": ""}, {"from": 7}, {"said": "forced_open"},
        {"said": ["open"]}, {"endpoint": ""}, {"endpoint": "x" * (MOST_CHARACTERS + 1)}, {"place": None},
        {"seconds": -1}, {"seconds": 0}, {"seconds": True}, {"seconds": "4"}, {"seconds": None},
        {"group": ""}, {"group": {}},
    ],
)  # fmt: skip
def test_what_is_not_meant_so_is_not_read(change: dict[str, Any]) -> None:
    assert decode(orjson.dumps(WRITTEN | change)) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b'"open"', b"\xff\xfe", b"[" * 2000, "text", None, 7,
        orjson.dumps(WRITTEN).replace(b"4.25", b"NaN"), orjson.dumps(WRITTEN).replace(b"4.25", b"1e999"),
        orjson.dumps(WRITTEN).replace(b"4.25", b"9" * 400),
        orjson.dumps(WRITTEN | {"more": "x" * MOST_BYTES}),
    ],
)  # fmt: skip
def test_what_is_no_message_is_not_read(raw: Any) -> None:
    assert decode(raw) is None


def test_fields_of_a_later_version_are_ignored_and_lengths_are_capped() -> None:
    assert decode(orjson.dumps(WRITTEN | {"more": [1, {"deep": 2}]})) == OPEN
    found = decode(orjson.dumps(WRITTEN | {"seconds": 1e18}))
    assert found is not None
    assert found.seconds == LONGEST


@pytest.mark.parametrize(
    "said",
    [
        replace(OPEN, endpoint="x" * (MOST_CHARACTERS + 1)),
        replace(OPEN, endpoint="\ud800"),
        replace(OPEN, seconds=float("nan")),
        replace(OPEN, seconds=0.0),
    ],
)
def test_what_nobody_would_read_is_not_written(said: Hearsay) -> None:
    assert encode(said) is None


@given(st.binary(max_size=3000))
def test_bytes_never_raise(raw: bytes) -> None:
    decode(raw)


json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(WRITTEN)), json), st.sampled_from([{}, WRITTEN]))
def test_objects_never_raise_and_what_is_read_is_bounded(
    change: dict[str, Any], base: dict[str, Any]
) -> None:
    found = decode(orjson.dumps(base | change))
    if found is not None:
        assert 0 <= found.seconds <= LONGEST
        assert found.endpoint
        assert found.place


def test_an_endpoint_is_the_same_by_where_it_is_and_no_secret_goes_into_that() -> None:
    plain = place_of(Endpoint("a", url="http://10.0.0.1:8000/v1"))
    same = ["http://me:secret@10.0.0.1:8000/v1", "http://10.0.0.1:8000/v1/?key=secret#x"]
    assert {place_of(Endpoint("b", url=url)) for url in same} == {plain}
    assert place_of(Endpoint("a", url="http://10.0.0.2:8000/v1")) != plain
    assert place_of(Endpoint("a")) == place_of(Endpoint("b"))
    assert len(place_of(Endpoint("a", url="http://[broken"))) == 16
