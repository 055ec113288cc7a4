"""What one process tells others about an endpoint, and how two processes know that they mean the same one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from urllib.parse import urlsplit

from langchain_cluster.model.endpoint import Endpoint

LONGEST = 300.0  # seconds: nothing that was only heard holds for longer


class Said(StrEnum):
    """What a process has seen: a circuit of its own opened or closed, a cooling down, an ejection."""

    OPEN = "open"
    CLOSED = "closed"
    COOLING = "cooling"
    EJECTED = "ejected"


@dataclass(frozen=True, slots=True)
class Hearsay:
    """Something another process says.

    Args:
        said: what it has seen.
        endpoint: the id of the endpoint.
        place: see `place_of`.
        seconds: for how long it holds from now on, 0-300; 0 for CLOSED. Clocks differ, lengths do not.
        sender: a random name of the process, the same as long as it runs.
        group: the quota group that is to be left alone, with COOLING.
    """

    said: Said
    endpoint: str
    place: str
    seconds: float
    sender: str = ""
    group: str | None = None


def place_of(endpoint: Endpoint) -> str:
    """A digest of the endpoint's url, without user, password, query and fragment; of "" if it has none."""
    try:
        parts = urlsplit(endpoint.url or "")
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"
    except ValueError:  # no url; it is compared with nothing
        where = ""
    return blake2b(where.encode("utf-8", "replace"), digest_size=8).hexdigest()
