"""A fleet of one process: whoever asks first is the holder, until it gives the place back."""

from __future__ import annotations

from math import inf
from threading import Lock

from langchain_cluster.model.term import Term


class LocalLeadership:
    """One holder among those that were handed this object; a term ends when it is released."""

    lease = inf
    trouble: str | None = None

    def __init__(self) -> None:
        self._lock = Lock()
        self._token = 0
        self._held: int | None = None

    def acquire(self, now: float) -> Term | None:
        """A new term, None while somebody has one."""
        with self._lock:
            if self._held is not None:
                return None
            self._token += 1
            self._held = self._token
            return Term(self._token, inf)

    def renew(self, term: Term, now: float) -> Term | None:
        """The same term, None when it was released."""
        return term if self._held == term.token else None

    def release(self, term: Term) -> None:
        """Let somebody else have it."""
        with self._lock:
            if self._held == term.token:
                self._held = None

    async def aacquire(self, now: float) -> Term | None:
        """The asyncio twin of `acquire`."""
        return self.acquire(now)

    async def arenew(self, term: Term, now: float) -> Term | None:
        """The asyncio twin of `renew`."""
        return self.renew(term, now)

    async def arelease(self, term: Term) -> None:
        """The asyncio twin of `release`."""
        self.release(term)

    def __repr__(self) -> str:
        return f"<LocalLeadership, {'nobody' if self._held is None else f'term {self._held}'}>"
