"""What is written on a cached answer: when it was given, and the tags under which it can be taken back.

One byte that begins no answer, the number of tags, the time as a big-endian double, and eight bytes per tag:
of its SHA-256, so that a store need not know what a tag says to find it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from math import isfinite

_START = struct.Struct(">BBd")
_MARK = 0xFE
_MARK_BYTE = bytes([_MARK])
_TAG = 8  # bytes
MOST_TAGS = 16
HEAD = _START.size + _TAG * MOST_TAGS
"""Bytes in which every label ends."""


@lru_cache(maxsize=1024)
def digest(tag: str) -> bytes:
    """A tag as labels have it."""
    return sha256(tag.encode("utf-8", "surrogatepass")).digest()[:_TAG]


def labelled(raw: bytes, at: float, tags: Iterable[str] = ()) -> bytes:
    """An answer's bytes with a label: given at `at`, seconds since 1970, with at most `MOST_TAGS` tags."""
    marks = sorted({digest(tag) for tag in tags})
    if not marks:
        return _START.pack(_MARK, 0, at) + raw
    return b"".join((_START.pack(_MARK, len(marks), at), *marks, raw))


def given_at(raw: bytes) -> float | None:
    """When it was given, seconds since 1970; None where nobody said. Raises ValueError for half a label."""
    if raw[:1] != _MARK_BYTE:
        return None
    if len(raw) < _START.size:
        raise ValueError("half a label")
    at: float = _START.unpack_from(raw)[2]
    if not isfinite(at):
        raise ValueError("not a label")
    return at


def unlabelled(raw: bytes) -> bytes:
    """The answer's bytes alone; those without a label as they are."""
    return raw[_START.size + _TAG * raw[1] :] if raw[:1] == _MARK_BYTE and len(raw) > 1 else raw


def tags_of(head: bytes) -> frozenset[bytes]:
    """The digests of the tags on bytes of which at least the first `HEAD` are there; none without a label."""
    if len(head) < _START.size or head[0] != _MARK:
        return frozenset()
    ends = _START.size + _TAG * min(head[1], MOST_TAGS)
    return frozenset(head[start : start + _TAG] for start in range(_START.size, ends, _TAG))
