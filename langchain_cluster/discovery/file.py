"""Endpoints from a YAML, JSON or TOML file, read anew whenever it changes.

A file is replaced whole: by a rename, or by swapping a symbolic link above it, as Kubernetes does with a
ConfigMap (`..data`). So it is the folder that is watched, and what counts is what the file says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import orjson

from langchain_cluster.discovery.changes import Changes
from langchain_cluster.discovery.entry import Entry, mapping_of
from langchain_cluster.discovery.etcd_value import entry_in
from langchain_cluster.discovery.known import Known
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.discovery.waiting import Waiting
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.languages import LANGUAGES, parse, text_of
from langchain_cluster.model.endpoint import Rejected, Roster
from langchain_cluster.registry.text import printable

MOST = 64 * 1024 * 1024  # bytes of a file that are read


class FileDiscovery:
    """Endpoints from a file: a list of them, under `endpoints` or alone, or a mapping from id to the rest.

    Each has an `id`, an `address` and a `port` or a `url`, and whatever else an entry of a registry may
    have. A file that cannot be read, is empty or broken is an error, and not an empty roster; `[]` is one.

    Args:
        path: the file; its suffix says the language.
        poll: seconds between looks, where nobody tells of changes; ten times as long where somebody does.
        wait: seconds a fetch waits for a change.
        told: whether to be told of changes by watchfiles (extra `watch`); None: if it is installed.
        mapping: field of an endpoint -> the key it is read from, where it is not of that name.
        now: monotonic seconds.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        poll: float = 1.0,
        wait: float = 30.0,
        told: bool | None = None,
        mapping: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() not in LANGUAGES:
            raise ConfigError(
                f"{self._path.name!r}: its suffix does not say the language",
                key="discovery.path",
                valid=list(LANGUAGES),
            )
        for name, value in (("poll", poll), ("wait", wait)):
            if not value > 0:
                raise ConfigError(f"{value!r} is not a number > 0 (seconds)", key=f"discovery.{name}")
        self._name = f"FileDiscovery({self._path.name!r})"
        self._poll, self._wait, self._told, self._now = poll, wait, told, now
        self._reading = Reading(mapping_of(mapping))
        self._known = Known()
        self._waiting = Waiting(self._name)
        self._raw: bytes | None = None  # what `_known` was made of

    def fetch(self, after: int | None = None) -> Roster:
        """The roster once it differs from revision `after`, or after `wait` seconds.

        Raises:
            DiscoveryError: the file cannot be read or understood, or `close` was called.
            ImportError: `told` is True, and watchfiles is not installed.
        """
        return self._waiting.run(lambda stop: self._fetch(after, stop))

    async def afetch(self, after: int | None = None) -> Roster:
        """The asyncio twin of `fetch`."""
        return await self._waiting.arun(lambda stop: self._fetch(after, stop))

    def close(self) -> None:
        """End fetches that wait, at once, with a DiscoveryError. A later one begins anew."""
        self._waiting.close()

    def _fetch(self, after: int | None, stop: Event) -> Roster:
        if after is None:
            return self._roster()
        until = self._now() + self._wait
        with Changes(self._path.parent, self._poll, told=self._told) as changes:
            while True:
                roster = self._roster()
                left = until - self._now()
                if roster.revision != after or left <= 0 or stop.is_set():
                    return roster
                changes.wait(stop, left)

    def _roster(self) -> Roster:
        while True:
            began = self._known.answers
            raw = self._read()
            known = self._known.roster
            if known is not None and raw == self._raw:
                return known
            roster = self._known.settle(*self._reading.read(self._entries(raw)), began=began)
            if roster is not None:
                self._raw = raw
                return roster

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                raw = file.read(MOST + 1)
        except OSError as error:
            raise DiscoveryError(self._name, f"it cannot be read ({type(error).__name__})") from None
        if len(raw) > MOST:
            raise DiscoveryError(self._name, f"it is larger than {MOST // 1024 // 1024} MiB")
        return raw

    def _entries(self, raw: bytes) -> Iterable[Entry | Rejected]:
        try:
            said = parse(text_of(raw, file=self._path.name), self._path.suffix.lower(), file=self._path.name)
        except ConfigError as error:
            raise DiscoveryError(self._name, printable(error.problem)) from None
        if isinstance(said, dict) and isinstance(said.get("endpoints"), list | dict):
            said = said["endpoints"]
        if isinstance(said, dict):
            said = [{"id": id, **(told if isinstance(told, dict) else {})} for id, told in said.items()]
        if not isinstance(said, list):
            raise DiscoveryError(self._name, "it is empty, or has no list of endpoints")
        return [_entry(told, place) for place, told in enumerate(said)]

    def __repr__(self) -> str:
        return f"<FileDiscovery {str(self._path)!r}, {self._known!r}>"


def _entry(told: Any, place: int) -> Entry | Rejected:
    if not isinstance(told, dict) or not isinstance(told.get("id"), str):
        return Rejected(f"endpoints[{place}]", "it is not a mapping with an id")
    rest = {str(name): value for name, value in told.items() if name != "id"}
    try:
        return entry_in(told["id"], orjson.dumps(rest, default=str))
    except (orjson.JSONEncodeError, ValueError):
        return Rejected(printable(told["id"]), "it has values that are none")
