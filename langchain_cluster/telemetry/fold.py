"""Measurements are put down in a call and worked out behind it: a histogram costs more than a call has.

The SDK takes about ten microseconds a value. A call leaves tuples here; a thread of ours, or whoever
collects the metrics, makes values of them. The thread ends when nothing has come for a while. Where more
come than it can work off, those who bring them help: slower calls tell more than wrong sums.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Any

BATCH = 512  # measurements that wake the thread
MOST_WAITING = 50_000  # beyond this many whoever brings one works off some
HELP = 4  # so many
LOST = 2 * MOST_WAITING  # beyond this many they are counted and lost: memory is worth more
IDLE = 0.5  # seconds without work after which the thread ends


class Fold:
    """A queue of measurements.

    Args:
        work: makes values of one of them; what it raises is that measurement's loss.
    """

    def __init__(self, work: Callable[[Any], None]) -> None:
        self._work = work
        self._waiting: deque[Any] = deque()
        self._folding, self._starting = Lock(), Lock()
        self._woken = Event()
        self._thread: Thread | None = None
        self.lost = 0

    def put(self, measurement: Any) -> None:
        """Leave a measurement; never waits."""
        waiting = self._waiting
        waiting.append(measurement)
        if len(waiting) % BATCH == 0:
            self._wake()
        if len(waiting) > MOST_WAITING:
            self._help()

    def _help(self) -> None:
        if self._folding.acquire(blocking=False):
            try:
                for _ in range(HELP):
                    self._one()
            finally:
                self._folding.release()
        elif len(self._waiting) > LOST:
            self._waiting.pop()
            self.lost += 1

    def now(self) -> None:
        """Work off what is there."""
        with self._folding:
            while self._waiting:
                self._one()

    def _one(self) -> None:
        try:
            self._work(self._waiting.popleft())
        except Exception:
            self.lost += 1  # telemetry never fails what it watches

    def _wake(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():  # also after a fork
                self._thread = Thread(target=self._run, name="langchain-cluster-metrics", daemon=True)
                self._thread.start()
        self._woken.set()

    def _run(self) -> None:
        while True:
            woken = self._woken.wait(IDLE)
            self._woken.clear()
            self.now()
            if not woken:
                with self._starting:
                    if not self._woken.is_set():
                        self._thread = None
                        return
