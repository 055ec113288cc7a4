"""Answers that are too old, or soon will be, are asked anew beside the calls that are given them.

On threads of the cluster, whatever the colour of the call; a few at once, and each question once. What
failed is left alone for a while, or every call that is given the old answer would try again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition

from langchain_cluster.drive.workers import Workers
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.events import AnswerRenewed, Event, RenewalFailed
from langchain_cluster.model.policy import Policy

MOST = 8  # at once; what is too old stays so until there is room
OFTEN = 2  # times an answer is given, once it will soon be too old, from which on it counts as hot
AGAIN = 5.0  # seconds until the next try of what failed
KNOWN = 10_000  # questions of which something is remembered


class Renewals:
    """What is being asked anew.

    Args:
        renew: asks; None when another process does. Raises as a call does.
        workers: where that blocks. emit, now: events, and when.
    """

    def __init__(
        self,
        renew: Callable[[Request, Policy], Answer | None],
        workers: Workers,
        emit: Callable[[Event], None],
        now: Callable[[], float],
    ) -> None:
        self._renew, self._workers, self._emit, self._now = renew, workers, emit, now
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._ended = Condition()
        self._running: set[str] = set()
        self._uses: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._closed = False

    def open(self) -> None:
        """Take requests; after a fork, as if there had been none."""
        if self._process != os.getpid():
            self._start_anew()
        self._closed = False

    def begin(self, request: Request, policy: Policy) -> None:
        """Ask anew, unless that is under way."""
        key = request.fingerprint
        if key is None:
            return
        with self._ended:
            if self._closed or key in self._running or len(self._running) >= MOST:
                return
            if self._now() < self._not_before.get(key, 0.0):
                return
            self._running.add(key)
            self._uses.pop(key, None)
        self._workers.start(lambda: self._ask(key, request, policy))

    def used(self, request: Request, policy: Policy) -> None:
        """An answer was given that will soon be too old: ask anew if it is often."""
        key = request.fingerprint
        if key is None:
            return
        with self._ended:
            if len(self._uses) >= KNOWN:
                self._uses.clear()
            uses = self._uses[key] = self._uses.get(key, 0) + 1
        if uses >= OFTEN:
            self.begin(request, policy)

    def _ask(self, key: str, request: Request, policy: Policy) -> None:
        started, failed = self._now(), ""
        try:
            answer = self._renew(request, policy)
            if answer is not None and not answer.storable:
                failed = "the answer cannot be kept"
            elif answer is not None:
                self._emit(AnswerRenewed(self._now(), self._now() - started))
        except Exception as error:
            failed = type(error).__name__
        finally:
            with self._ended:
                if len(self._not_before) >= KNOWN:
                    self._not_before.clear()
                if failed:
                    self._not_before[key] = self._now() + AGAIN
                else:
                    self._not_before.pop(key, None)
                self._running.discard(key)
                self._ended.notify_all()
        if failed:
            self._emit(RenewalFailed(self._now(), failed))

    def close(self, timeout: float) -> bool:
        """Begin nothing more, and wait at most `timeout` seconds for what is under way; whether it ended."""
        with self._ended:
            self._closed = True
            return self._ended.wait_for(lambda: not self._running, timeout)
