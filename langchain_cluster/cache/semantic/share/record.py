"""What processes tell one another of their entries, as bytes: one was kept, one is wrong, all are gone.

A byte for the version, the length of a head, the head as JSON, then arrays and the answer as they are.
Nothing is unpickled; what cannot have been written here is refused, whatever it is.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from langchain_cluster.cache.semantic.embedder import unit
from langchain_cluster.extras import need

VERSION = b"\x01"
LARGEST = 1 << 20  # bytes of a record: a longer one is not told, and not read
_LENGTH = struct.Struct(">I")
_HALF = "<f2"  # half precision moves a cosine by less than 0.001, and halves what a server holds


class Unreadable(ValueError):
    """Bytes that are no record of ours."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry, without what only its own process knows."""

    scope: str
    text: str = field(repr=False)
    raw: bytes | str = field(repr=False)
    digest: str
    expires: float | None
    vector: Any = field(repr=False)
    sense: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An entry whose answer is no longer right."""

    scope: str
    text: str = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """All that was told before. `by` is whoever did it."""

    by: str


Record = Kept | Dropped | Cleared


def encode(record: Record) -> bytes | None:
    """Its bytes; None for one that is too large to be told."""
    numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
    head: dict[str, Any]
    tail = b""
    match record:
        case Kept():
            sense = b"" if record.sense is None else numpy.asarray(record.sense, _HALF).tobytes()
            words = isinstance(record.raw, str)
            raw = record.raw.encode("utf-8", "surrogatepass") if isinstance(record.raw, str) else record.raw
            head = {
                "kept": [record.scope, record.text, record.digest],
                "expires": record.expires,
                "words": words,
                "dimensions": len(record.vector),
                "sense": len(sense) // 2,
            }
            tail = numpy.asarray(record.vector, _HALF).tobytes() + sense + raw
        case Dropped():
            head = {"dropped": [record.scope, record.text, record.digest]}
        case Cleared():
            head = {"cleared": record.by}
    written = json.dumps(head).encode()  # orjson refuses half a surrogate pair
    found = VERSION + _LENGTH.pack(len(written)) + written + tail
    return found if len(found) <= LARGEST else None


def decode(raw: Any, dimensions: int) -> Record:
    """The record these bytes are.

    Args:
        dimensions: a vector must have.

    Raises:
        Unreadable: they are none, or one of an embedder with other dimensions.
    """
    try:
        return _decode(raw, dimensions)
    except Unreadable:
        raise
    except (ValueError, TypeError, KeyError, struct.error, RecursionError, OverflowError) as error:
        raise Unreadable(type(error).__name__) from None


def _decode(raw: Any, dimensions: int) -> Record:
    if not isinstance(raw, bytes) or len(raw) > LARGEST or raw[:1] != VERSION:
        raise Unreadable("no record of this version")
    (length,) = _LENGTH.unpack_from(raw, 1)
    begin = 1 + _LENGTH.size
    head, rest = json.loads(raw[begin : begin + length]), raw[begin + length :]
    if "cleared" in head:
        return Cleared(_text(head["cleared"]))
    scope, text, digest = (_text(one) for one in head["dropped" if "dropped" in head else "kept"])
    if "dropped" in head:
        return Dropped(scope, text, digest)
    if head["dimensions"] != dimensions:
        raise Unreadable(f"it has {head['dimensions']} dimensions, and the embedder here gives {dimensions}")
    senses = _whole(head["sense"])
    if senses not in (0, dimensions):
        raise Unreadable("the vector of its answer has other dimensions")
    vectors, answer = rest[: 2 * (dimensions + senses)], rest[2 * (dimensions + senses) :]
    vector = _unit(vectors[: 2 * dimensions], dimensions)
    sense = _unit(vectors[2 * dimensions :], senses) if senses else None
    expires = head["expires"]
    if expires is not None and not (type(expires) in (int, float) and isfinite(expires)):
        raise Unreadable("it ends at no time")
    said = answer.decode("utf-8", "surrogatepass") if head["words"] else answer
    return Kept(scope, text, said, digest, expires, vector, sense)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise Unreadable("a text is none")
    return given


def _whole(given: Any) -> int:
    if type(given) is not int:
        raise Unreadable("a number is none")
    return given


def _unit(raw: bytes, dimensions: int) -> Any:
    numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
    if len(raw) != 2 * dimensions:
        raise Unreadable("it was cut")
    vector = unit(numpy.frombuffer(raw, _HALF))
    if vector is None:
        raise Unreadable("a vector has no direction")
    return vector
