"""What lies under one prefix of a Redis, and the commands that ask for it, for clients of either colour.

A command's answer is returned as the client gives it: asyncio's has to be awaited. What takes several
commands is a generator of answers, which `run` takes as they are and `arun` awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from langchain_cluster.cache.glob import wider
from langchain_cluster.cache.selection import Selection
from langchain_cluster.model.label import HEAD

T = TypeVar("T")
Steps = Generator[Any, Any, T]

BATCH = 1000  # keys a step of SCAN looks at, and keys removed at once
WALK = 100  # steps of SCAN that counting takes at most
LONGEST_TTL = 10**12  # milliseconds, 31 years: the server adds it to the time of day, and that must fit
CLAIM = b":claim"  # the end of a key under which no value lies, but who asks for one
OPEN = b"-"  # who asked has nothing to share: nobody is to wait
OPEN_FOR = 1000  # milliseconds that is told; who waits looks ten times as often

# Only who has a claim may give it back: it may be another's by now.
_END = "if redis.call('get', KEYS[1]) == ARGV[1] then {} end return 0"
END = _END.format("return redis.call('del', KEYS[1])")
END_OPEN = _END.format(f"return redis.call('set', KEYS[1], '{OPEN.decode()}', 'PX', {OPEN_FOR})")


class Keyspace:
    """The keys under a prefix; in a cluster, over all masters."""

    def __init__(self, prefix: str, *, cluster: bool) -> None:
        self.prefix, self.cluster = prefix, cluster

    def key(self, key: str) -> bytes:
        """As the server knows it."""
        return (self.prefix + key).encode("utf-8", "surrogatepass")

    def text(self, key: bytes) -> str:
        """A key without the prefix. What others have written there need not be text."""
        try:
            return key.decode("utf-8", "surrogatepass")[len(self.prefix) :]
        except UnicodeDecodeError:
            return key.decode("utf-8", "replace")[len(self.prefix) :]

    def mget(self, client: Any, keys: list[bytes]) -> Any:
        """The values of several keys."""
        # In a cluster each node gets its part in one go; MGET itself refuses keys of several slots.
        return each(client, [("GET", key) for key in keys]) if self.cluster else client.mget(keys)

    def unlink(self, client: Any, keys: list[bytes]) -> Steps[int]:
        """Remove keys; how many there were."""
        if not self.cluster:
            return int((yield client.unlink(*keys)))
        return sum((yield each(client, [("UNLINK", key) for key in keys])))

    def remove(self, client: Any, selected: Selection) -> Steps[int]:
        """Remove what is selected; how many there were."""
        gone = 0

        def remove(keys: list[bytes]) -> Steps[bool]:
            nonlocal gone
            meant = [key for key in keys if selected.means(self.text(key))]
            if selected.tag is not None and meant:
                heads = yield each(client, [("GETRANGE", key, 0, HEAD - 1) for key in meant], strict=False)
                told = zip(meant, heads, strict=True)
                meant = [key for key, head in told if isinstance(head, bytes) and selected.has(head)]
            if meant:
                gone += yield from self.unlink(client, meant)
            return False

        yield from self._scan(client, selected.widest, remove)
        return gone

    def walk(self, client: Any) -> Steps[tuple[int, int]]:
        """How many values there are, and their bytes; of at least a hundred thousand."""
        seen: set[bytes] = set()  # SCAN may name a key twice
        size = steps = 0

        def count(keys: list[bytes]) -> Steps[bool]:
            nonlocal size, steps
            new = [key for key in keys if key not in seen]
            seen.update(new)
            sizes = yield each(client, [("STRLEN", key) for key in new], strict=False)
            size += sum(number for number in sizes if isinstance(number, int))
            steps += 1
            return steps >= WALK

        yield from self._scan(client, "*", count)
        return len(seen), size

    def _scan(self, client: Any, pattern: str, each: Callable[[list[bytes]], Steps[bool]]) -> Steps[None]:
        """Go through the keys of every master in steps, until `each` has seen enough."""
        match = wider(self.prefix, pattern).encode("utf-8", "surrogatepass")
        nodes: list[Any] = [None]
        if self.cluster:
            if hasattr(client, "initialize"):  # asyncio's looks at its cluster with the first command only
                yield client.initialize()
            nodes = client.get_primaries()
        for node in nodes:
            cursor = 0
            where: dict[str, Any] = {} if node is None else {"target_nodes": node}
            while True:
                found = yield client.execute_command("SCAN", cursor, "MATCH", match, "COUNT", BATCH, **where)
                cursor, keys = found
                if isinstance(cursor, dict):  # by node, in a cluster
                    cursor = next(iter(cursor.values()))
                values = [key for key in keys if not key.endswith(CLAIM)]
                if values and (yield from each(values)):
                    return
                if not cursor:
                    break


# -- one question each --------------------------------------------------------------------------------


def get(client: Any, key: bytes) -> Any:
    """A value."""
    return client.get(key)


def exists(client: Any, key: bytes) -> Any:
    """Whether there is one."""
    return client.exists(key)


def delete(client: Any, key: bytes) -> Any:
    """Remove it."""
    return client.unlink(key)


def expire(client: Any, key: bytes, milliseconds: int) -> Any:
    """Let it live so long."""
    return client.pexpire(key, milliseconds)


def put(client: Any, key: bytes, value: bytes, milliseconds: int | None) -> Any:
    """Write it."""
    return client.set(key, value, px=milliseconds)


def put_command(key: bytes, value: bytes, milliseconds: int | None) -> tuple[Any, ...]:
    """The same as one of several commands."""
    return ("SET", key, value) if milliseconds is None else ("SET", key, value, "PX", milliseconds)


def entries(client: Any, keys: list[bytes]) -> Any:
    """Values and the milliseconds they have left, by turns."""
    return each(client, [command for key in keys for command in (("GET", key), ("PTTL", key))])


def claim(client: Any, keys: list[bytes], token: bytes, milliseconds: int) -> Any:
    """Whether the claim on the first of `keys` is ours now, their values, and whose claim it is.

    In this order: whoever had it has written the value before it gave the claim back.
    """
    mine = keys[0] + CLAIM
    first = ("SET", mine, token, "NX", "PX", milliseconds)
    return each(client, [first, *(("GET", key) for key in keys), ("GET", mine)])


def renew(client: Any, claims: list[bytes], milliseconds: int) -> Any:
    """Let claims last so long from now. One that another has meanwhile taken over lasts the longer, too."""
    return each(client, [("PEXPIRE", claim, milliseconds) for claim in claims], strict=False)


def each(client: Any, commands: Sequence[tuple[Any, ...]], *, strict: bool = True) -> Any:
    """The answers to several commands, in one go: per node, where there are several."""
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return pipe.execute(raise_on_error=strict)


def whole(seconds: float) -> int:
    """Milliseconds as the server takes them, at least one."""
    return min(max(1, round(seconds * 1000)), LONGEST_TTL)


def run(steps: Steps[T]) -> T:
    """Steps whose questions are answered as they are asked."""
    try:
        answer = next(steps)
        while True:
            answer = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def arun(steps: Steps[T]) -> T:
    """Steps whose questions have to be awaited."""
    try:
        answer = next(steps)
        while True:
            answer = steps.send(await answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
