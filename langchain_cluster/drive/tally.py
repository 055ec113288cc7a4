"""Who is inside: counts calls in and out, refuses them once closed, and waits until the last has left."""

from __future__ import annotations

from threading import Condition, Lock

from langchain_cluster.errors import ClusterError
from langchain_cluster.model.call import Answer
from langchain_cluster.plan.call import attempts_of


class Tally:
    """The calls of a cluster: how many are in flight, and how the others ended."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.closed = False
        self._quiet = Condition(Lock())
        self._counts = dict.fromkeys(
            ("calls", "answered", "failed", "abandoned", "cache_hits", "attempts"), 0
        )

    def enter(self) -> None:
        """A call begins. Raises ClusterError when the cluster is closed."""
        with self._quiet:
            if self.closed:
                raise ClusterError("the cluster is closed")
            self.in_flight += 1

    def leave(self, ended: Answer | BaseException | None) -> None:
        """A call has ended: with an answer, an error, or abandoned (None, or an exception of leaving)."""
        counts = self._counts
        with self._quiet:
            counts["calls"] += 1
            counts["attempts"] += attempts_of(ended)
            if isinstance(ended, Answer):
                counts["answered"] += 1
                counts["cache_hits"] += ended.endpoint is None
            else:
                counts["failed" if isinstance(ended, Exception) else "abandoned"] += 1
            self.in_flight -= 1
            if self.closed and self.in_flight == 0:
                self._quiet.notify_all()

    def counts(self) -> dict[str, int]:
        """How many calls there were, and how they ended; `attempts` counts what endpoints were asked."""
        with self._quiet:
            return dict(self._counts)

    def open(self) -> None:
        """Let calls in."""
        self.closed = False

    def drain(self, timeout: float) -> bool:
        """Let no more calls in and wait at most `timeout` seconds; whether all have left."""
        with self._quiet:
            self.closed = True
            return self._quiet.wait_for(lambda: self.in_flight == 0, timeout)
