"""A semantic cache in one file: arrays, a JSON beside them, and a checksum over both. Nothing is unpickled.

Written beside the old one and put in its place, so that a crash leaves a whole file. One that is damaged
is a warning and an empty cache; one of another embedder is an error, for its vectors mean nothing here.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from langchain_cluster.cache.semantic.entry import Entry
from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need

VERSION = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file held.

    Attributes:
        entries: the one used last being the last. learned: by a policy.
        place: up to where in a journal all is known; empty for none.
    """

    entries: list[Entry]
    learned: dict[str, Any] | None
    place: str = ""


def write(
    path: Any, fingerprint: str, entries: Sequence[Entry], learned: dict[str, Any] | None, place: str = ""
) -> None:
    """Put a file at `path`. Raises OSError."""
    numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
    texts = [isinstance(entry.raw, str) for entry in entries]
    raws = [e.raw.encode("utf-8", "surrogatepass") if isinstance(e.raw, str) else e.raw for e in entries]
    about = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "entries": [
            [e.id, e.scope, e.text, e.digest, e.expires, len(raw), text, e.sense is not None]
            for e, raw, text in zip(entries, raws, texts, strict=True)
        ],
        "learned": learned,
        "place": place,
    }
    senses = [entry.sense for entry in entries if entry.sense is not None]
    arrays = {
        "about": numpy.frombuffer(json.dumps(about).encode(), numpy.uint8),
        "raws": numpy.frombuffer(b"".join(raws), numpy.uint8),
        "vectors": numpy.array([entry.vector for entry in entries], numpy.float32),
        "senses": numpy.array(senses, numpy.float32),
    }
    written = io.BytesIO()
    numpy.savez(written, checksum=numpy.frombuffer(_checksum(arrays), numpy.uint8), **arrays)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(written.getvalue())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Any, fingerprint: str) -> Kept | None:
    """What is at `path`; None when there is nothing, or nothing whole.

    Raises:
        ConfigError: it was written with another embedder.
    """
    numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
    if not Path(path).exists():
        return None
    try:
        with numpy.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in ("about", "raws", "vectors", "senses")}
            whole = kept["checksum"].tobytes() == _checksum(arrays)
        about = json.loads(arrays["about"].tobytes()) if whole else {}
    except Exception:  # whatever a damaged archive makes of zipfile, zlib and numpy
        about = {}
    if about.get("version") != VERSION:
        warnings.warn(
            f"{path} is damaged or of another version: the semantic cache starts empty", stacklevel=4
        )
        return None
    if about["fingerprint"] != fingerprint:
        raise ConfigError(
            f"{path} was written with the embedder {about['fingerprint']!r}, and this one is {fingerprint!r}:"
            " vectors of two models cannot be compared; give another path, or delete the file",
            key="SemanticCache.path",
        )
    raws, senses = arrays["raws"].tobytes(), iter(arrays["senses"])
    entries, place = [], 0
    for row, vector in zip(about["entries"], arrays["vectors"], strict=True):
        id, scope, text, digest, expires, length, is_text, sensed = row
        raw: Any = raws[place : place + length]
        place += length
        sense = next(senses) if sensed else None
        said = raw.decode("utf-8", "surrogatepass") if is_text else raw
        entries.append(Entry(id, scope, text, vector, said, digest, sense, expires=expires))
    return Kept(entries, about["learned"], about.get("place", ""))


def _checksum(arrays: dict[str, Any]) -> bytes:
    digest = sha256()
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.digest()
