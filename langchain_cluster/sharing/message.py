"""Hearsay as it travels: a small JSON object. Whatever comes in is read as if an enemy had written it.

    {"v": 1, "from": "9f2c...", "said": "open", "endpoint": "gpu-1", "place": "8a1b...", "seconds": 4.2,
     "group": null}

Fields that are not known are ignored, so that a later version may add some; another `v` is not read.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import orjson

from langchain_cluster.model.hearsay import LONGEST, Hearsay, Said

VERSION = 1
MOST_BYTES = 2048
MOST_CHARACTERS = 200  # of an id or a group; an endpoint with a longer one is not spoken of
_KINDS = {said.value: said for said in Said}


def encode(said: Hearsay) -> bytes | None:
    """The message; None for what nobody would read."""
    if not isfinite(said.seconds) or not _is_unicode(said):
        return None
    raw = orjson.dumps(
        {
            "v": VERSION,
            "from": said.sender,
            "said": said.said.value,
            "endpoint": said.endpoint,
            "place": said.place,
            "seconds": round(said.seconds, 3),
            "group": said.group,
        }
    )
    return None if decode(raw) is None else raw


def decode(raw: object) -> Hearsay | None:
    """What it says; None when it is no such message. Never raises."""
    if not isinstance(raw, bytes) or len(raw) > MOST_BYTES:
        return None
    try:
        found = orjson.loads(raw)
    except ValueError:
        return None
    if not isinstance(found, dict) or not _is(found.get("v"), VERSION):
        return None
    kind, seconds, group = found.get("said"), found.get("seconds"), found.get("group")
    said = _KINDS.get(kind) if isinstance(kind, str) else None
    sender, endpoint, place = (_text(found.get(name)) for name in ("from", "endpoint", "place"))
    if said is None or not sender or not endpoint or not place or (group is not None and not _text(group)):
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not isfinite(seconds):
        return None
    if seconds < 0 or (seconds == 0 and said is not Said.CLOSED):
        return None
    return Hearsay(said, endpoint, place, min(float(seconds), LONGEST), sender, group)


def _is(given: Any, number: int) -> bool:
    return type(given) is int and given == number


def _text(given: Any) -> str:
    return given if isinstance(given, str) and len(given) <= MOST_CHARACTERS else ""


def _is_unicode(said: Hearsay) -> bool:
    try:
        "".join((said.endpoint, said.place, said.sender, said.group or "")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
