"""The last rosters on disk, for a start while the registry is away. What is wrong with a file is told.

A file is written beside the old one and takes its place whole, and carries a digest of what it says: one
that was cut short, or edited by hand, is not used. An entry is read like a registry's, and believed no
more than one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from threading import Lock
from typing import Any

import orjson

from langchain_cluster.discovery.describe import entry_of
from langchain_cluster.discovery.etcd_value import entry_in, value_of
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.endpoint import Endpoint

VERSION = 1
MOST = 64 * 1024 * 1024  # bytes that are read


class KeptRosters:
    """One file with the rosters of several sources.

    Args:
        path: the file; its folder has to be there.
        now: seconds since the epoch.

    Raises:
        ConfigError: the folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str], *, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = Path(path), now
        if not self._path.parent.is_dir():
            raise ConfigError(f"{self._path.parent} is not a folder", key="stability.keep")
        self._lock = Lock()
        self._rosters: dict[str, Any] | None = None  # as they were read or written last

    def save(self, source: str, endpoints: Iterable[Endpoint]) -> None:
        """Keep the roster of `source`. An endpoint without a url cannot be kept, and is left out.

        Raises:
            DiscoveryError: it cannot be written.
        """
        with self._lock:
            if self._rosters is None:
                with suppress(DiscoveryError):
                    self._read()
            rosters = dict(self._rosters or {})
            rosters[source] = {"at": self._now(), "endpoints": _told(endpoints)}
            known = (self._rosters or {}).get(source)
            if known is not None and known["endpoints"] == rosters[source]["endpoints"]:
                return
            self._write(rosters)
            self._rosters = rosters

    def load(self, source: str) -> tuple[tuple[Endpoint, ...], float] | None:
        """The roster of `source` and its age in seconds; None when there is none.

        Raises:
            DiscoveryError: the file cannot be read, or is not what was written.
        """
        with self._lock:
            self._read()
            kept = (self._rosters or {}).get(source)
        if kept is None:
            return None
        try:
            entries = [entry_in(id, orjson.dumps(told)) for id, told in kept["endpoints"].items()]
            endpoints, _, _ = Reading().read(entries)
            return endpoints, max(0.0, self._now() - float(kept["at"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._broken("it has another shape") from None

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                raw = file.read(MOST + 1)
        except FileNotFoundError:
            self._rosters = {}
            return
        except OSError as error:
            raise self._broken(f"it cannot be read ({type(error).__name__})") from None
        digest, _, payload = raw.partition(b"\n")
        if len(raw) > MOST or digest.decode("ascii", "replace") != _digest(payload):
            raise self._broken("its checksum is wrong: it is cut short, or was changed")
        told = orjson.loads(payload)
        if told.get("version") != VERSION:
            raise self._broken("it was written by another version")
        self._rosters = told["rosters"]

    def _write(self, rosters: dict[str, Any]) -> None:
        payload = orjson.dumps({"version": VERSION, "rosters": rosters}, option=orjson.OPT_SORT_KEYS)
        try:
            number, name = mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)  # mode 0600
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(_digest(payload).encode() + b"\n" + payload)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise self._broken(f"it cannot be written ({type(error).__name__})") from None

    def _broken(self, reason: str) -> DiscoveryError:
        return DiscoveryError(f"the kept roster {self._path.name}", reason)

    def __repr__(self) -> str:
        return f"KeptRosters({str(self._path)!r})"


def _digest(payload: bytes) -> str:
    return f"sha256:{sha256(payload).hexdigest()}"


def _told(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    told = {}
    for endpoint in endpoints:
        with suppress(ConfigError):  # no url: nobody could find it again
            told[endpoint.id] = orjson.loads(value_of(entry_of(endpoint), None))
    return told
