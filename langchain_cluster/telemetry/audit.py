"""Who asked what of whom, when, and how it ended: one JSON line a call, never with what was said.

A call leaves its line in a queue and a thread writes it, so a slow disk slows nobody. With `chain` each
line carries the hash of the one before: whoever changes, drops or inserts a line breaks the chain behind
it; and where the trail begins and ends is noted beside it, in `<path>.head`. A file that is full is renamed
to `<path>.1`, what was `.1` to `.2`; the chain goes on across them.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Condition, Thread, current_thread
from typing import Any
from weakref import ref

import orjson

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request
from langchain_cluster.model.events import CallEnded, Event
from langchain_cluster.telemetry import anchor
from langchain_cluster.telemetry.audit_line import Lines

_LOG = logging.getLogger("langchain_cluster.audit")
MOST_WAITING = 20_000  # lines; a disk that is so far behind is gone
PERIOD = 0.05  # seconds between two looks at what is to be written
IDLE = 10  # looks without a line after which the thread ends
BEGINNING = "0" * 64
SEAL = b',"hash":"'


class AuditLog:
    """An append-only file of calls.

    Args:
        path: of the file; `{pid}` stands for the process, which one file is for: two writers would
            break each other's chain. The child of a fork writes to one with its process in the name.
        max_bytes: from which size on it is rotated, >= 1,000; None for never.
        keep: how many rotated files are kept, >= 1.
        chain: whether lines are chained by their hashes.
        user: whose call it was, where the tenant does not say it already; given the request, on the thread
            that writes. When it raises, nobody is named.
        clock: the time of day, seconds since 1970.

    Raises:
        ConfigError: a number is out of range, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = 64_000_000,
        keep: int = 10,
        chain: bool = False,
        user: Callable[[Request], str | None] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if max_bytes is not None and max_bytes < 1000:
            raise ConfigError(f"max_bytes {max_bytes} is less than 1000", key="audit.max_bytes")
        if keep < 1:
            raise ConfigError(f"keep {keep} is less than 1", key="audit.keep")
        self._given = os.fspath(path)
        self.path = Path(self._given.replace("{pid}", str(os.getpid())))
        self.max_bytes, self.keep, self.chain = max_bytes, keep, chain
        self._user, self._clock = user, clock or time.time
        self._lines = Lines(self._user_of)
        self._closed = False
        self._begin()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("ab").close()
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}", key="audit.path") from None
        atexit.register(self.close, 2.0)
        known = ref(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: None if (log := known()) is None else log._forked())

    def _begin(self) -> None:
        self._waiting: deque[Any] = deque()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._writing = self._troubled = False
        self._size: int | None = None
        self._last, self._number, self._first = BEGINNING, 0, 1
        self.lost = 0

    def _forked(self) -> None:
        """This is the child: the file is its parent's, and so is what waits to be written there."""
        pid = str(os.getpid())
        path = Path(self._given.replace("{pid}", pid))
        self.path = path if "{pid}" in self._given else path.with_stem(f"{path.stem}-{pid}")
        self._begin()

    def listen(self, cluster: Any) -> Callable[[], None]:
        """Write down every call of a cluster from now on; the result ends it."""
        pool = cluster.pool

        def heard(event: Event) -> None:
            if type(event) is CallEnded:
                request, answer = event.request, event.answer
                last = event.endpoint if answer is None else answer.endpoint
                member = None if last is None else pool.get(last)
                endpoint = None if member is None else member.endpoint
                # Not the request, which holds what was said, unless somebody has to be shown it.
                asked = None if self._user is None else request
                whose = request.tenant, request.agent, request.role, request.tier
                self.put((self._clock(), whose, asked, event.error, event.attempts, answer, last, endpoint))

        leave: Callable[[], None] = cluster.events.subscribe(heard)
        return leave

    def _user_of(self, request: Request) -> str | None:
        if self._user is None:
            return None
        try:
            return self._user(request)
        except Exception as error:
            self._trouble("whose call it was cannot be told", error)
            return None

    def put(self, line: dict[str, Any] | tuple[Any, ...] | Callable[[], dict[str, Any]]) -> None:
        """Leave a line, or what makes it, to be written; never waits, never raises."""
        if len(self._waiting) >= MOST_WAITING or self._closed:
            self.lost += 1
            return
        self._waiting.append(line)
        # Nobody is woken: a switch of threads costs a call more than all the rest of this.
        if self._thread is None or not self._thread.is_alive():
            with self._changed:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = Thread(target=self._run, name="langchain-cluster-audit", daemon=True)
                    self._thread.start()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until what was left is written, at most `timeout` seconds; whether it is."""
        with self._changed:
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what is left, and take no more."""
        self.flush(timeout)
        self._closed = True
        thread = self._thread
        with self._changed:
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout)
        atexit.unregister(self.close)

    def _run(self) -> None:
        idle = 0
        while True:
            with self._changed:
                if not self._waiting:
                    idle += 1
                    if self._closed or idle > IDLE:
                        self._thread = None
                        if not self._waiting:
                            return
                        self._thread = current_thread()  # `put` came in between, and saw that it was there
                if not self._closed:
                    self._changed.wait(PERIOD)
                lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
                self._writing = bool(lines)
            if not lines:
                continue
            idle = 0
            try:
                self._write_all(lines)
            finally:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    def _write_all(self, given: list[Any]) -> None:
        lines = [line for one in given if (line := self._made(one)) is not None]
        if lost := self.lost:
            lines.append({"lost": lost})
        before = self._number
        try:
            self._write(lines)
            self._troubled = False
            self.lost -= lost
        except Exception as error:
            self._size = None  # read anew what the file holds
            self.lost += len(lines) - bool(lost) - max(0, self._number - before)
            self._trouble("the audit trail cannot be written", error)

    def _made(self, line: Any) -> dict[str, Any] | None:
        """A line that can be written: what is wrong with one call is not the others' loss."""
        try:
            told: dict[str, Any]
            if type(line) is tuple:
                told = self._lines.line(*line)
            else:
                told = line() if callable(line) else line
            try:
                orjson.dumps(told)
            except TypeError:  # no text that has an encoding, or another library's kind of number
                told = {name: _plain(value) for name, value in told.items()}
            return told
        except Exception as error:
            self.lost += 1
            self._trouble("a line of the audit trail cannot be made", error)
            return None

    def _trouble(self, what: str, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            _LOG.warning("%s: %s", what, type(error).__name__)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._size is None:
            self._resume()
        at = 0
        while at < len(lines):
            with self.path.open("ab", buffering=0) as file:
                while at < len(lines):
                    raw = self._sealed(lines[at])
                    if self.max_bytes and self._size and self._size + len(raw) > self.max_bytes:
                        break
                    file.write(raw)
                    self._size = (self._size or 0) + len(raw)
                    if self.chain:
                        self._last = sha256(raw.rpartition(SEAL)[0] + b"}").hexdigest()
                    self._number += 1
                    at += 1
            if at < len(lines):
                self._rotate()
        self._note()

    def _note(self) -> None:
        if self.chain:
            anchor.write(self.path, anchor.Anchor(self._first, self._number, self._last))

    def _sealed(self, line: dict[str, Any]) -> bytes:
        if not self.chain:
            return orjson.dumps({"number": self._number + 1, **line}) + b"\n"
        body = orjson.dumps({"number": self._number + 1, **line, "previous": self._last})
        return body[:-1] + SEAL + sha256(body).hexdigest().encode() + b'"}\n'

    def _rotate(self) -> None:
        if rotated(self.path, self.keep).exists():  # what is noted never promises more than there is
            oldest = self.path if self.keep == 1 else rotated(self.path, self.keep - 1)
            self._first = _first_number(oldest) or self._first
            self._note()
        for number in range(self.keep, 0, -1):
            older = rotated(self.path, number)
            newer = self.path if number == 1 else rotated(self.path, number - 1)
            if newer.exists():
                newer.replace(older)
        number = self.keep + 1
        while rotated(self.path, number).exists():  # of a time when more were kept
            rotated(self.path, number).unlink()
            number += 1
        self._size = 0

    def _resume(self) -> None:
        """Go on where an earlier process ended. What it did not finish, or somebody has cut off, shows."""
        self._size = self.path.stat().st_size if self.path.exists() else 0
        for path in (self.path, rotated(self.path, 1)):
            last = _last_line(path)
            if last is None:
                continue
            if not last.endswith(b"\n"):
                with path.open("ab") as file:
                    file.write(b"\n")
            try:
                told = orjson.loads(last)
                self._last, self._number = told.get("hash", BEGINNING), told["number"]
            except (ValueError, KeyError, AttributeError):
                self._last = sha256(last).hexdigest()  # it breaks the chain, and is seen to
            break
        if not self.chain:
            return
        try:
            noted = anchor.read(self.path)
        except ValueError:
            return
        if noted is None:
            number = self.keep
            while number > 0 and not rotated(self.path, number).exists():
                number -= 1
            oldest = rotated(self.path, number) if number else self.path
            self._first = _first_number(oldest) or self._number + 1
        else:
            self._first = noted.first
            if noted.number > self._number:
                self._number, self._last = noted.number, noted.hash


def rotated(path: Path, number: int) -> Path:
    """Where a file that was full lies; 1 is the latest."""
    return path.with_name(f"{path.name}.{number}")


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def _first_number(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            return int(orjson.loads(file.readline())["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _last_line(path: Path) -> bytes | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65_536))
        return file.read().splitlines(keepends=True)[-1]
