"""What a process is asked most, handed to another one: entries as they are, and no model is called.

They travel as JSON Lines in a file, or from the admin app of a running process. Whoever gets them keeps what
it has: an entry is written only where there is none.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import httpx
import orjson

from langchain_cluster.cache.memory import Hot
from langchain_cluster.errors import ClusterError, ConfigError

HEAD = {"langchain_cluster": "hot", "version": 1}
TOKEN_ENV = "LANGCHAIN_CLUSTER_ADMIN_TOKEN"
_LONGEST = 64 * 1024 * 1024  # bytes of values handed out at once


def hottest(cache: Any, n: int = 1_000) -> list[Hot]:
    """The entries that were read most often, at most `n`, and at most 64 MiB of them.

    Args:
        cache: a store, or a cluster or a face of one. Counted are reads from memory: of a layered store in
            its nearest layers that count, of a sharded one in all shards.

    Raises:
        ConfigError: `n` is no integer >= 1, or nothing in there counts what is read.
    """
    if type(n) is not int or n < 1:
        raise ConfigError(f"{n!r} is not an integer >= 1", key="hottest.n")
    found: list[Hot] = []
    counting = list(_counting(_store_of(cache)))
    if not counting:
        raise ConfigError("no MemoryCache in there: others do not count what is read", key="cache")
    for store in counting:
        found += store.hottest(n)
    best: list[Hot] = []
    size = 0
    for hot in sorted(found, key=lambda hot: -hot.uses)[:n]:
        size += len(hot.value)
        if size > _LONGEST:
            break
        best.append(hot)
    return best


def warm_from(cache: Any, source: Any, n: int = 1_000, *, token_env: str = TOKEN_ENV) -> int:
    """Put into a cache what another process is asked most; how many entries were new.

    Args:
        cache: a store, or a cluster or a face of one.
        source: the file that `write_hot` wrote, the address of another process's admin app, or entries.
        n: entries at most. token_env: the variable that holds that app's token.

    Raises:
        ConfigError: the file or the address is none. ClusterError: the app does not answer, or refuses.
    """
    store = _store_of(cache)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        entries: Sequence[Hot] = fetch_hot(source, n, token_env=token_env)
    elif isinstance(source, str | PathLike):
        entries = read_hot(source)
    else:
        entries = list(source)
    return fill(store, entries[:n])


def fill(store: Any, entries: Iterable[Hot]) -> int:
    """Write what is not there yet, for the time it has left; how many. Raises what the store raises."""
    new = 0
    for hot in entries:
        if store.get(hot.key) is None:  # which puts what a far layer holds into the near ones
            store.set(hot.key, hot.value, hot.ttl)
            new += 1
    return new


def write_hot(path: str | PathLike[str], entries: Iterable[Hot]) -> int:
    """Write entries to a file that only its owner can read, whole or not at all; how many. Raises OSError."""
    file = Path(path)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    count = 0
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(orjson.dumps(HEAD) + b"\n")
            for hot in entries:
                out.write(orjson.dumps(shape(hot)) + b"\n")
                count += 1
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    return count


def read_hot(path: str | PathLike[str]) -> list[Hot]:
    """The entries of a file, the hottest first. Raises ConfigError for one that `write_hot` did not write."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    try:
        head = orjson.loads(lines[0]) if lines else None
    except orjson.JSONDecodeError:
        head = None
    if head != HEAD:
        raise ConfigError(
            "is no file of hot entries: write one with `cache warm --from URL --to FILE`", file=str(path)
        )
    found = []
    for number, line in enumerate(lines[1:], 2):
        try:
            found.append(_entry(orjson.loads(line)))
        except ValueError as error:
            raise ConfigError(f"this is no entry: {error}", file=str(path), key=f"line {number}") from None
    return found


def fetch_hot(url: str, n: int, *, token_env: str = TOKEN_ENV, timeout: float = 30.0) -> list[Hot]:
    """The hottest entries of the process behind an admin app. Raises ClusterError."""
    token = os.environ.get(token_env, "").strip()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    place = f"{url.rstrip('/')}/cache/hottest"
    try:
        answer = httpx.post(place, headers=headers, json={"n": n}, timeout=timeout)
        told = answer.json()
    except httpx.HTTPError as error:
        raise ClusterError(f"{url} does not answer: {type(error).__name__}") from None
    except ValueError:
        raise ClusterError(f"{url} is no admin app") from None
    if answer.is_error or not isinstance(told, dict) or not isinstance(told.get("entries"), list):
        why = told.get("error", "no entries") if isinstance(told, dict) else "no entries"
        raise ClusterError(f"{url}: {why} (HTTP {answer.status_code})")
    try:
        return [_entry(one) for one in told["entries"]]
    except ValueError as error:
        raise ClusterError(f"{url}: this is no entry: {error}") from None


def shape(hot: Hot) -> dict[str, Any]:
    """An entry as JSON."""
    value = base64.b64encode(hot.value).decode()
    return {"key": hot.key, "uses": hot.uses, "value": value, "ttl": hot.ttl}


def _entry(read: Any) -> Hot:
    if not isinstance(read, dict) or set(read) != {"key", "uses", "value", "ttl"}:
        raise ValueError("it has key, uses, value and ttl")
    key, uses, value, ttl = read["key"], read["uses"], read["value"], read["ttl"]
    if not isinstance(key, str) or type(uses) is not int or not isinstance(value, str):
        raise ValueError("key is a text, uses an integer, value base64")
    if ttl is not None and not (type(ttl) in (int, float) and isfinite(ttl) and ttl > 0):
        raise ValueError("ttl is a number of seconds > 0, or null")
    try:
        return Hot(key, uses, base64.b64decode(value, validate=True), ttl)
    except binascii.Error as error:
        raise ValueError(f"value is not base64: {error}") from None


def _store_of(cache: Any) -> Any:
    cluster = getattr(cache, "cluster", cache)
    store = cluster.cache if hasattr(cluster, "pool") else cluster
    if not callable(getattr(store, "exists", None)):
        raise ConfigError("there is no cache", key="cache")
    return store


def _counting(store: Any) -> Iterator[Any]:
    """The stores in a store that count what is read of each entry."""
    if hasattr(store, "hottest"):
        yield store
    for inner in (*getattr(store, "layers", ()), *getattr(store, "stores", ())):
        yield from _counting(inner)
