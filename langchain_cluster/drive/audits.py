"""Was an answer to another question right here too? Some are asked anew, beside the call that had it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

from langchain_cluster.drive.workers import Workers
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.events import AnswerAudited, AuditFailed, Event
from langchain_cluster.ports import AlikeStore

MOST = 4  # at once; more hits than that are not checked


class Audits:
    """Checks hits of a cache of meanings on threads of the cluster, and tells the cache what came.

    Args:
        store: where the hits come from.
        words: the text of an answer, None for one that has more than text.
        ask: has an endpoint answer a request; raises as a call does.
        workers: where that blocks. emit, now: events, and when.
    """

    def __init__(
        self,
        store: AlikeStore,
        words: Callable[[Any], str | None],
        ask: Callable[[Request], Answer],
        workers: Workers,
        emit: Callable[[Event], None],
        now: Callable[[], float],
    ) -> None:
        self.store, self.words = store, words
        self._ask, self._workers, self._emit, self._now = ask, workers, emit, now
        self._lock = Lock()
        self._running = 0

    def audit(self, request: Request, hit: Any) -> None:
        """Begin a check and return at once."""
        with self._lock:
            if self._running >= MOST:
                return
            self._running += 1
        self._workers.start(lambda: self._check(request, hit))

    def _check(self, request: Request, hit: Any) -> None:
        try:
            # Whoever waits for an answer goes first, and what comes is not to be kept: the hit was.
            answer = self._ask(replace(request, priority="sheddable", fingerprint=None, meaning=None))
            words = self.words(answer.value) if answer.storable else None
            if words is not None:
                self._emit(AnswerAudited(self._now(), self.store.audited(hit, words), hit.score))
        except Exception as error:
            self._emit(AuditFailed(self._now(), type(error).__name__))
        finally:
            with self._lock:
                self._running -= 1
