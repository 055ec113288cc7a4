"""Tells others what happened here, and hears what happened there: one thread, for which no call waits.

What is to be told waits in a bounded queue; what does not fit is not shared. While the journal
is away nothing is told and nothing heard; afterwards both go on from where they were.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from threading import Condition, Event, Lock, Thread, current_thread

from langchain_cluster.cache.semantic.share.record import (
    Cleared,
    Kept,
    Record,
    Unreadable,
    decode,
    encode,
)
from langchain_cluster.cache.semantic.share.seam import Journal

EVERY = 0.1  # seconds between two looks: about 100 µs of work each
MOST_WAITING = 1_000  # records to be told
AT_ONCE = 256  # records told, or read, in one go
RECENT = 2_000  # of those read at the start: the newest are learned from, which takes the longest
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds after a failure, give or take a half


class Follower:
    """Follows a journal from the first `start` until `close`.

    Args:
        journal: what is told and heard through.
        dimensions: of every vector; asked on the thread, where it may embed a text.
        hear: told each record of others, and whether to learn from it.
        forgotten: told that all that was told before is gone.
        failed: told when it is away, and what is wrong.
        place: where to begin: behind what is known already.
        every: seconds between two looks. seed: chance, for the pauses.

    Attributes:
        counts: told, heard, refused, lost.
        caught_up: set once all was heard that had been told before.
        away: why there is nothing to be heard just now; None when there is.
    """

    NAMES = ("told", "lost", "heard", "refused")

    def __init__(
        self,
        journal: Journal,
        *,
        dimensions: Callable[[], int],
        hear: Callable[[Record, bool], None],
        forgotten: Callable[[], None],
        failed: Callable[[str], None],
        place: str = "",
        every: float = EVERY,
        seed: int | None = None,
    ) -> None:
        self._journal, self._dimensions = journal, dimensions
        self._hear, self._forgotten, self._failed = hear, forgotten, failed
        self.place, self._every, self._random = place, every, Random(seed)
        self.counts: Counter[str] = Counter()
        self.away: str | None = None
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._changed = Condition()
        self._taking = Lock()  # what is being heard is heard before a clearing of ours, or not at all
        self._waiting: deque[bytes] = deque()
        self._clearing: Cleared | None = None  # ours, until it is heard: what comes before it is void
        self._restart: bytes | None = None
        self._thread: Thread | None = None
        self._stopping = False
        self.caught_up = Event()

    def start(self) -> None:
        """Follow, if that has not begun. Returns at once."""
        if self._thread is not None and self._process == os.getpid():
            return
        if self._process != os.getpid():
            self._renew()  # a fork has no threads, and locks that nobody gives back
        with self._changed:
            if self._thread is None:
                self._stopping = False
                self._thread = Thread(target=self._run, name="langchain-cluster-semantic", daemon=True)
                self._thread.start()

    def tell(self, record: Record) -> None:
        """Have others told, soon."""
        raw = encode(record)
        if isinstance(record, Cleared):
            with self._taking, self._changed:
                self._waiting.clear()
                self._clearing, self._restart = record, raw
                self._changed.notify_all()
            return
        with self._changed:
            full = isinstance(record, Kept) and len(self._waiting) >= MOST_WAITING
            if raw is None or full:
                self.counts["lost"] += 1
            else:  # removals always wait: they are small, and no more than there are entries
                self._waiting.append(raw)
            self._changed.notify_all()

    # -- on its thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                recent = self._begin()
                failures, self.away = 0, None
                while self._follow(recent):
                    recent = 0
            except Exception as error:  # whatever it was: it is tried again, and no call knows
                self.away = type(error).__name__
                if not failures:
                    self._failed(self.away)
                self._pause(PAUSES[min(failures, len(PAUSES) - 1)] * (0.5 + self._random.random()))
                failures += 1
        try:
            self._send()
        except Exception as error:
            with self._changed:
                self.counts["lost"] += len(self._waiting)
                self._waiting.clear()
            self.away = type(error).__name__
        with suppress(Exception):
            self._journal.close()

    def _begin(self) -> int:
        """How many records there are, about."""
        self._dimensions()
        place, restarted, length = self._journal.resume(self.place)
        if restarted:
            self._forgotten()
        if self._restart is None:
            self._clearing = None
        self.place = place
        return length

    def _follow(self, length: int) -> bool:
        """Tell what waits, hear what is new, and wait for either; False to stop."""
        self._send()
        read = 0
        while not self._stopping:
            found = self._journal.read(self.place, AT_ONCE)
            for place, raw in found:
                read += 1
                self._take(raw, learn=length - read < RECENT)
                self.place = place
            if len(found) < AT_ONCE:
                self.caught_up.set()
                break
        return self._wait(self._every)

    def _take(self, raw: bytes, *, learn: bool) -> None:
        try:
            record = decode(raw, self._dimensions())
        except Unreadable:
            self.counts["refused"] += 1
            return
        self.counts["heard"] += 1
        try:
            with self._taking:
                if isinstance(record, Cleared):
                    self._cleared(record)
                elif self._clearing is None:
                    self._hear(record, learn)
        except Exception:  # not to be met again and again
            self.counts["refused"] += 1

    def _cleared(self, record: Cleared) -> None:
        # What we hold is what was kept after our own clearing, unless somebody cleared after that.
        mine = self._clearing is not None and record.by == self._clearing.by
        if mine or self._restart is None:
            self._clearing = None
        if not mine:
            self._forgotten()

    def _send(self) -> None:
        while True:
            with self._changed:
                restart, some = self._restart, list(self._waiting)[:AT_ONCE]
            if restart is not None:
                self._journal.restart(restart)
                with self._changed:
                    if self._restart is restart:
                        self._restart = None
                continue
            if not some:
                return
            self._journal.append(some)
            with self._changed:
                self.counts["told"] += len(some)
                for one in some:  # unless a clearing has taken them out meanwhile
                    if self._waiting and self._waiting[0] is one:
                        self._waiting.popleft()

    def _wait(self, seconds: float) -> bool:
        """Until something is to be told, or for so long; False to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting or self._restart, seconds)
            return not self._stopping

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def close(self) -> None:
        """Tell what waits, if it can be told now, and end the thread. It can be started again."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._stopping = True
            self._changed.notify_all()
        if thread is not None and thread is not current_thread() and self._process == os.getpid():
            thread.join()

    def __repr__(self) -> str:
        state = "not followed" if self._thread is None else f"away: {self.away}" if self.away else "followed"
        return f"<Follower {state}, {self.counts['told']} told, {self.counts['heard']} heard>"
