"""Vectors as bytes and back, and under which key each of them lies. Nothing is ever unpickled.

The bytes: `V`, a version, the number of vectors and their length as little-endian uint32, then
little-endian float32. A model that answers in doubles loses what float32 cannot hold, about 1 part in
10 million: less than its own noise, and half the memory.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from langchain_cluster.endpoints.embedding import Texts
from langchain_cluster.model.cache_key import cache_key
from langchain_cluster.model.call import Request

_HEAD = struct.Struct("<2sII")
_KIND = b"V\x01"
_LITTLE = sys.byteorder == "little"


class VectorCodec:
    """Encodes a list of vectors of one length; decodes to a list of the reader's own."""

    def encode(self, value: list[list[float]]) -> bytes:
        """Bytes of vectors. Raises OverflowError for a number that no float32 can hold."""
        length = len(value[0])
        numbers = array("f")
        for vector in value:
            numbers.extend(vector)
        if not all(map(math.isfinite, numbers)):
            raise OverflowError("a number is larger than a float32 can hold")
        if not _LITTLE:
            numbers.byteswap()
        return _HEAD.pack(_KIND, len(value), length) + numbers.tobytes()

    def decode(self, raw: bytes) -> list[list[float]]:
        """Fresh vectors. Raises ValueError for bytes that were not written by `encode`."""
        if len(raw) < _HEAD.size:
            raise ValueError("not vectors")
        kind, count, length = _HEAD.unpack_from(raw)
        if kind != _KIND or not count or not length or len(raw) != _HEAD.size + 4 * count * length:
            raise ValueError("not vectors, or those of another version")
        numbers = array("f")
        numbers.frombytes(memoryview(raw)[_HEAD.size :])
        if not _LITTLE:
            numbers.byteswap()
        flat = numbers.tolist()
        if not math.isfinite(sum(flat)):
            raise ValueError("not vectors: they hold a NaN or an infinity")
        return [flat[start : start + length] for start in range(0, count * length, length)]


class TextParts:
    """The texts of one request, each with a key of its own: what is known is not asked for again.

    Args:
        lengths: how long the vectors of each identity are, as far as is known.
    """

    def __init__(self, lengths: Mapping[str, int]) -> None:
        self._lengths = lengths
        self._codec = VectorCodec()

    def keys(self, request: Request) -> tuple[str, ...]:
        """One key per text; () when they must not be cached."""
        asked: Texts = request.payload
        if asked.identity is None:
            return ()
        where = cache_key(request.tenant, asked.identity, "")
        whose = sha256(asked.identity.encode()).hexdigest()
        return tuple([f"{where}{sha256((digest + whose).encode()).hexdigest()}" for digest in asked.digests])

    def only(self, request: Request, places: Sequence[int]) -> Request:
        """The request for only the texts at `places`."""
        asked: Texts = request.payload
        texts = [asked.texts[place] for place in places]
        digests = tuple(asked.digests[place] for place in places)
        return replace(request, payload=replace(asked, texts=texts, digests=digests))

    def encode(self, value: list[float]) -> bytes:
        """Bytes of one vector."""
        return self._codec.encode([value])

    def decode(self, request: Request, raw: bytes) -> list[float]:
        """One vector. Raises ValueError for other bytes, and for a vector of another length."""
        asked: Texts = request.payload
        vectors = self._codec.decode(raw)
        wanted = asked.dimensions or self._lengths.get(asked.identity or "")
        if len(vectors) != 1 or (wanted is not None and len(vectors[0]) != wanted):
            raise ValueError("a vector of another length")
        return vectors[0]

    def agree(self, known: list[float], fresh: list[float]) -> bool:
        """Whether two vectors may stand in one answer."""
        return len(known) == len(fresh)


def digests_of(texts: Sequence[str], *, query: bool) -> tuple[str, ...]:
    """One digest per text, of it and of what it is."""
    kind = b"query\0" if query else b"document\0"
    return tuple([sha256(kind + text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts])
