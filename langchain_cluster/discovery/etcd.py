"""The endpoints under a prefix of etcd, followed by a watch from the revision that was listed last.

A watch only says that something changed: the prefix is then listed as a whole. That costs one small
request for each burst of changes, and there is no state that could drift from etcd's: a compaction, a
lost event or another server in its place all end in the same listing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_cluster.discovery.entry import Entry, mapping_of
from langchain_cluster.discovery.etcd_value import entry_in
from langchain_cluster.discovery.known import Known
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.endpoint import Rejected, Roster
from langchain_cluster.registry.etcd_api import EtcdApi, behind, coded, decoded
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.text import printable
from langchain_cluster.registry.wire import Pause, Steps, Wire

PORT = 2379
BREATH = 0.05  # seconds a burst of changes is given before the prefix is listed


class EtcdDiscovery:
    """Endpoints from the keys under a prefix; the rest of a key is the id, its value a JSON object.

    Args:
        prefix: such as "/llm/endpoints/".
        endpoints: url of an etcd server, or several, asked in turn when one does not answer.
        user_env, password_env, password_file: where the user's name and password are read; None for none.
        wait: seconds a watch waits for a change, > 0.
        timeout: seconds a server may take otherwise.
        mapping: field of an endpoint -> the key in the value it is read from, where it is not of that name.
        ca, cert, key, verify: TLS: files with the certificates to trust, one to show, and its key.
        now: monotonic seconds.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        prefix: str,
        endpoints: str | Iterable[str] = "http://127.0.0.1:2379",
        *,
        user_env: str | None = None,
        password_env: str | None = None,
        password_file: str | os.PathLike[str] | None = None,
        wait: float = 30.0,
        timeout: float = 5.0,
        mapping: Mapping[str, str] | None = None,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        verify: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = f"EtcdDiscovery({prefix!r})"
        if not prefix:
            raise ConfigError("is empty: it would be all of etcd", key="discovery.prefix")
        for name, value in (("wait", wait), ("timeout", timeout)):
            if not value > 0:
                raise ConfigError(f"{value!r} is not a number > 0 (seconds)", key=f"discovery.{name}")
        self._prefix, self._wait, self._now = prefix, wait, now
        self._range = {"key": coded(prefix), "range_end": coded(behind(prefix))}
        self._reading = Reading(mapping_of(mapping))
        self._servers = Servers(endpoints, key="discovery.endpoints", port=PORT)
        self._api = EtcdApi(
            self._name,
            self._servers,
            user=Secret(self._name, "user", user_env),
            password=Secret(self._name, "password", password_env, password_file),
            timeout=timeout,
        )
        self._wire = Wire(self._name, ca=ca, cert=cert, key=key, verify=verify)
        self._known = Known()
        self._listed: int | None = None  # etcd's revision of the last listing; None when it may be old

    def fetch(self, after: int | None = None) -> Roster:
        """The roster once it differs from revision `after`, or after `wait` seconds.

        Raises:
            DiscoveryError: no server answered, the user is refused, `close` was called.
        """
        return self._wire.run(self._fetch(after))

    async def afetch(self, after: int | None = None) -> Roster:
        """The asyncio twin of `fetch`."""
        return await self._wire.arun(self._fetch(after))

    def close(self) -> None:
        """End watches that wait, at once, with a DiscoveryError. A later one begins anew."""
        self._wire.close()

    def _fetch(self, after: int | None) -> Steps[Roster]:
        until = self._now() + self._wait
        watches = not self._known.is_new_to(after)
        while True:
            left = until - self._now()
            watches = watches and not self._known.is_new_to(after)  # another fetch may have heard meanwhile
            listed, self._listed = self._listed, None  # whatever fails below, the next one lists first
            if watches and listed is not None and left > 0:
                create = {**self._range, "start_revision": str(listed + 1)}
                yield from self._api.listen("/v3/watch", {"create_request": create}, _tells, left)
                yield Pause(BREATH)
            began = self._known.answers
            answer = yield from self._api.call("/v3/kv/range", self._range)
            revision = self._revision_of(answer)
            roster = self._known.settle(*self._reading.read(self._entries(answer)), began=began)
            if roster is None:
                watches = False
                continue
            self._listed = revision  # after the roster: who watches from it has to know what it stands for
            if roster.revision != after or self._now() >= until:
                return roster
            watches = True

    def _revision_of(self, answer: dict[str, Any]) -> int:
        try:
            return int(answer["header"]["revision"])
        except (KeyError, TypeError, ValueError):
            raise DiscoveryError(self._name, "the answer has no revision") from None

    def _entries(self, answer: dict[str, Any]) -> list[Entry | Rejected]:
        found = answer.get("kvs") or []
        if not isinstance(found, list):
            raise DiscoveryError(self._name, "the answer is not a list of keys")
        entries: list[Entry | Rejected] = []
        for item in found:
            try:
                id = decoded(item.get("key")).decode().removeprefix(self._prefix)
                entries.append(entry_in(id, decoded(item.get("value"))))
            except (AttributeError, UnicodeDecodeError) as error:
                entries.append(Rejected("?", f"its key is not understood: {type(error).__name__}"))
        return entries

    def __repr__(self) -> str:
        return f"<EtcdDiscovery {printable(self._prefix)!r} at {self._servers!r}, {self._known!r}>"


def _tells(line: dict[str, Any] | None) -> bool:
    """Whether a line of a watch says anything beside that the watch was created."""
    if line is None:
        return False
    result = line.get("result")
    return not isinstance(result, dict) or bool(result.get("events") or result.get("canceled"))
