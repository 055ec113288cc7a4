"""Where a chained trail begins and ends, noted beside it: its chain does not show what was cut off it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is noted.

    Attributes:
        first: number of the oldest line that is kept.
        number, hash: of the latest line; the trail may go on behind it, where its writer was ended at once.
    """

    first: int
    number: int
    hash: str


def anchor_of(trail: Path) -> Path:
    """The file it is noted in."""
    return trail.with_name(f"{trail.name}.head")


def read(trail: Path) -> Anchor | None:
    """What is noted of a trail; None where nothing is.

    Raises:
        ValueError: the file is none of these.
    """
    try:
        told = orjson.loads(anchor_of(trail).read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(told, dict) or {name: type(value) for name, value in told.items()} != _SHAPE:
        raise ValueError("this is not the note of a trail's ends")
    return Anchor(**told)


_SHAPE = {"first": int, "number": int, "hash": str}


def write(trail: Path, anchor: Anchor) -> None:
    """Note it; whoever reads meanwhile finds the old or the new one whole."""
    place = anchor_of(trail)
    made = place.with_name(f"{place.name}.{os.getpid()}")
    made.write_bytes(orjson.dumps(asdict(anchor)))
    made.replace(place)
