"""Work that may take too long is done on a thread that is left behind when it does.

The thread is there beforehand: from Python 3.12 on none can be begun while the interpreter ends, and that
is when there is something left to send.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

_LOG = logging.getLogger("langchain_cluster.telemetry")
Work = Callable[[], object]


class Aside:
    """A thread that does one thing after another, and nothing once it was left."""

    def __init__(self) -> None:
        self._given: SimpleQueue[tuple[Work, SimpleQueue[bool]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="langchain-cluster-telemetry", daemon=True)
        self._thread.start()

    def within(self, timeout: float, work: Work) -> bool:
        """Do it, at most `timeout` seconds; whether it was done. One that says False was not."""
        if not self._thread.is_alive():  # in a child of a fork
            return _done(work)
        told: SimpleQueue[bool] = SimpleQueue()
        self._given.put((work, told))
        try:
            return told.get(timeout=timeout)
        except Empty:
            return False

    def leave(self) -> None:
        """Nothing more is to be done."""
        self._given.put(None)

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            work, told = given
            told.put(_done(work))


def _done(work: Work) -> bool:
    try:
        return work() is not False
    except Exception as error:  # a reader that ran out of time raises
        _LOG.info("not all of the telemetry could be sent: %s", type(error).__name__)
        return False
