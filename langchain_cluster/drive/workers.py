"""Why do blocking calls run on a thread of ours?

A thread that is blocked inside a provider's SDK cannot be interrupted. `timeout=` bounds each read of
a socket, not the call: a server that trickles keeps the caller for ever, and a stream's first token
cannot have another limit than the rest. So the SDK blocks a worker, and the caller waits for the
worker with a limit of its own. What it leaves behind is a daemon thread that ends when the SDK's read
timeout does. The price is about 50 µs, and is not paid for models that answer in place.
"""

from __future__ import annotations

import contextvars
import os
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from langchain_cluster.drive.recall import Recalled
from langchain_cluster.ports import Clock

T = TypeVar("T")

IDLE = 10.0  # seconds a thread waits for its next job before it ends
AHEAD = 64  # chunks a stream is read ahead of its consumer


class Job(Generic[T]):
    """Something a worker does; `wait` for it with a limit."""

    __slots__ = ("_context", "_do", "_done", "_error", "_gate", "_recalled", "_value")

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._context = contextvars.copy_context()
        self._gate = Lock()
        self._gate.acquire()
        self._error: BaseException | None = None
        self._done = False
        self._recalled: str | None = None

    def run(self) -> None:
        """Do it, on the worker."""
        try:
            self._value = self._context.run(self._do)
        except BaseException as error:
            self._error = error
        finally:
            self._done = True
            self._open()

    def recall(self, reason: str) -> None:
        """Let whoever waits go; the work itself goes on."""
        self._recalled = reason
        self._open()

    def _open(self) -> None:
        try:
            self._gate.release()
        except RuntimeError:
            pass  # the other one of `run` and `recall` has opened it

    def wait(self, clock: Clock, until: float | None) -> T:
        """What it returned or raised. Raises TimeoutError when the time is `until`, Recalled if it was."""
        if not clock.wait(self._gate, until):
            raise TimeoutError
        if self._recalled is not None and not self._done:
            raise Recalled(self._recalled)
        if self._error is not None:
            raise self._error
        return self._value


class Workers:
    """Threads for blocking calls: as many as are needed, kept for a while, none at first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[SimpleQueue[Job[Any] | None]] = []
        self._process = os.getpid()
        self._closed = False

    def start(self, do: Callable[[], T]) -> Job[T]:
        """Do it on a thread, in the caller's context variables."""
        job = Job(do)
        with self._lock:
            self._closed = False  # whoever closed it has begun again
            if self._process != os.getpid():  # a fork has the inboxes, not the threads that read them
                self._process, self._idle = os.getpid(), []
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue()
            Thread(target=self._work, args=(inbox,), name="langchain-cluster-call", daemon=True).start()
        inbox.put(job)
        return job

    def _work(self, inbox: SimpleQueue[Job[Any] | None]) -> None:
        while True:
            try:
                job = inbox.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if inbox in self._idle:
                        self._idle.remove(inbox)
                        return
                continue  # it was taken off the shelf a moment ago: a job is coming
            if job is None:
                return
            job.run()
            del job  # or the last answer lives as long as the thread waits
            with self._lock:
                if self._closed:
                    return
                self._idle.append(inbox)

    def close(self) -> None:
        """End the idle threads now, and the busy ones when what they wait for has ended."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)


_END = object()


class Pump:
    """A blocking iterator read on a worker, a bounded way ahead, and waited for with a limit.

    Closing it never blocks: the worker closes the iterator itself when its current read ends.
    """

    def __init__(self, chunks: Iterator[Any], workers: Workers, clock: Clock) -> None:
        self._chunks, self._clock = chunks, clock
        self._lock = Lock()
        self._read: deque[Any] = deque()
        self._error: BaseException | None = None
        self._closed = False
        self._recalled: str | None = None
        self._kept = False
        self._hungry: Lock | None = None  # the consumer waits for a chunk
        self._full: Lock | None = None  # the worker waits for room
        workers.start(self._pump)

    def _pump(self) -> None:
        try:
            for chunk in self._chunks:
                room = self._put(chunk)
                if room is not None:
                    room.acquire()
                if self._closed:
                    break
        except BaseException as error:
            self._error = error
        finally:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                try:
                    close()
                except Exception as error:  # the consumer hears of it, if it is still there
                    self._error = self._error or error
            self._put(_END)

    def _put(self, chunk: Any) -> Lock | None:
        with self._lock:
            self._read.append(chunk)
            if self._hungry is not None:
                self._hungry.release()
                self._hungry = None
            if len(self._read) < AHEAD or self._closed or chunk is _END:
                return None
            self._full = Lock()
            self._full.acquire()
            return self._full

    def recall(self, reason: str) -> None:
        """Let the consumer go that waits for a chunk, unless the stream is to be kept."""
        with self._lock:
            if self._kept:
                return
            self._recalled = reason
            if self._hungry is not None:
                self._hungry.release()
                self._hungry = None

    def keep(self) -> None:
        """Something of it is handed out: it can no longer be called back."""
        with self._lock:
            self._kept, self._recalled = True, None

    def next(self, until: float | None) -> Any:
        """The next chunk.

        Raises StopIteration at the end, TimeoutError when the time is `until`, Recalled if it was.
        """
        with self._lock:
            if not self._read and self._recalled is None:
                gate = self._hungry = Lock()
                gate.acquire()
            else:
                gate = None
        if gate is not None and not self._clock.wait(gate, until):
            raise TimeoutError
        with self._lock:
            if not self._read and self._recalled is not None:
                raise Recalled(self._recalled)
            chunk = self._read.popleft()
            if self._full is not None and len(self._read) <= AHEAD // 2:
                self._full.release()
                self._full = None
        if chunk is _END:
            if self._error is not None:
                raise self._error
            raise StopIteration
        return chunk

    def close(self) -> None:
        """The consumer has left."""
        with self._lock:
            self._closed = True
            if self._full is not None:
                self._full.release()
                self._full = None


class InPlace:
    """An iterator read in place, for models that never block; the limits are looked at, not enforced."""

    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks

    def keep(self) -> None:
        """Nobody can call it back."""

    def next(self, until: float | None) -> Any:
        """The next chunk. Raises StopIteration at the end."""
        return next(self._chunks)

    def close(self) -> None:
        """The consumer has left."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
