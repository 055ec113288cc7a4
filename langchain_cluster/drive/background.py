"""Work beside the calls: a plan that runs on a thread of its own until it is stopped."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread, current_thread
from typing import Any

from langchain_cluster.drive.workers import Workers
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.health import Health
from langchain_cluster.plan import effects as fx
from langchain_cluster.ports import HealthCheck

_Found = tuple[Endpoint, Health | BaseException]


class Background:
    """One plan on one daemon thread. `stop` ends a pause at once.

    Args:
        plan: asks only for `Sleep`, `Fetch` and `Probe`; probes block threads of their own.
        name: of the thread.
    """

    def __init__(self, plan: fx.Plan[None], name: str) -> None:
        self._plan = plan
        self._stop = Event()
        self._workers = Workers()
        self._found: SimpleQueue[_Found | None] = SimpleQueue()
        self._probes = 0  # under way
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with closing(self._plan) as plan:
            answer: Any = None
            effect = next(plan, None)
            while effect is not None and not self._stop.is_set():
                try:
                    match effect:
                        case fx.Sleep(seconds):
                            self._stop.wait(seconds)
                            answer = None
                        case fx.Fetch(source, after):
                            answer = source.fetch(after)
                        case fx.Probe(check, endpoints, seconds):
                            answer = self._probe(check, endpoints, seconds)
                        case _:
                            raise TypeError(f"background work may not ask for {effect!r}")
                    if self._stop.is_set():
                        return
                    effect = plan.send(answer)
                except StopIteration:
                    return
                except Exception as error:
                    if self._stop.is_set():
                        return  # it is how a source that waits is ended
                    try:
                        effect = plan.throw(error)
                    except StopIteration:
                        return

    def _probe(self, check: HealthCheck, endpoints: tuple[Endpoint, ...], seconds: float) -> list[_Found]:
        for endpoint in endpoints:
            self._workers.start(partial(self._look, check, endpoint))
            self._probes += 1
        found = []
        try:
            item = self._found.get(timeout=seconds)
            while item is not None:  # None: `stop` wants to be heard
                self._probes -= 1
                found.append(item)
                item = self._found.get_nowait()
        except Empty:
            pass
        return found

    def _look(self, check: HealthCheck, endpoint: Endpoint) -> None:
        try:
            self._found.put((endpoint, check.check(endpoint)))
        except BaseException as error:  # even SystemExit: it is what this check found
            self._found.put((endpoint, error))

    def stop(self, timeout: float | None = None) -> bool:
        """Ask it to end and wait at most `timeout` seconds, for probes too; whether it has ended."""
        ends = None if timeout is None else time.monotonic() + timeout
        self._stop.set()
        self._found.put(None)
        if self._thread is current_thread():
            self._workers.close()
            return True  # a listener told by this very thread: it ends when that has returned
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._workers.close()
        while self._probes:
            try:
                left = None if ends is None else max(0.0, ends - time.monotonic())
                self._probes -= self._found.get(timeout=left) is not None
            except Empty:
                return False
        return True
