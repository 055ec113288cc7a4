"""When a process asks for the lead, when it renews it, and when it has lost it. It is told the time."""

from __future__ import annotations

import os

from langchain_cluster.model.term import Term
from langchain_cluster.ports import Leadership

RENEW = 0.5  # of a lease that may pass before it is renewed: a first renewal that fails leaves time for more
PAUSE = 1.0  # seconds between two tries, at most; so a Redis that hangs is waited for half of the time
PART = 0.1  # of a lease between two tries, where that is shorter


class Seat:
    """One process's place in a leadership, for work that is done piece by piece.

    Ask `hold` before each piece and leave it when that answers None: there is no thread that renews,
    so a process that is stuck loses its place. One caller at a time.

    Args:
        leader: who grants the terms.
    """

    def __init__(self, leader: Leadership) -> None:
        self._leader = leader
        self._pause = min(PAUSE, leader.lease * PART)
        self._term: Term | None = None
        self._again = float("-inf")  # no try before
        self._process = os.getpid()

    def hold(self, now: float, *, need: float) -> Term | None:
        """The term in which a piece of work of `need` seconds can be done; None: it is not ours to do."""
        term = self._mine(now)
        if term is not None:
            if self._is_late(term, now, need):
                term = self._leader.renew(term, now)
        elif now >= self._again:
            term = self._leader.acquire(now)
        return self._kept(term, now, need)

    async def ahold(self, now: float, *, need: float) -> Term | None:
        """The asyncio twin of `hold`."""
        term = self._mine(now)
        if term is not None:
            if self._is_late(term, now, need):
                term = await self._leader.arenew(term, now)
        elif now >= self._again:
            term = await self._leader.aacquire(now)
        return self._kept(term, now, need)

    def leave(self) -> None:
        """Give the place back, if it is ours; nobody has to wait for the lease to end."""
        term, self._term = self._term, None
        if term is not None and self._process == os.getpid():
            self._leader.release(term)

    async def aleave(self) -> None:
        """The asyncio twin of `leave`."""
        term, self._term = self._term, None
        if term is not None and self._process == os.getpid():
            await self._leader.arelease(term)

    def _mine(self, now: float) -> Term | None:
        if self._process != os.getpid():  # a fork: the term is the parent's
            self._process, self._term = os.getpid(), None
        if self._term is not None and now >= self._term.until:
            self._term = None
        return self._term

    def _is_late(self, term: Term, now: float, need: float) -> bool:
        left = term.until - now
        return left < need or left < self._leader.lease * RENEW

    def _kept(self, term: Term | None, now: float, need: float) -> Term | None:
        if term is None and now >= self._again:
            self._again = now + self._pause
        self._term = term
        return term if term is not None and term.until - now >= need else None

    def __repr__(self) -> str:
        held = "none" if self._term is None else f"term {self._term.token}"
        return f"<Seat {held}>"
