"""A term as a registry keeps it: what is asked is a generator; here it is performed, and trouble is noted."""

from __future__ import annotations

from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.model.term import Term
from langchain_cluster.registry.wire import Steps, Wire


class ByRegistry:
    """What Consul and etcd have in common as a `Leadership`.

    Raises:
        ConfigError: a lease that registry cannot keep.
    """

    _wire: Wire

    def __init__(self, source: str, lease: float, *, least: float, most: float) -> None:
        if not least <= lease <= most:
            raise ConfigError(f"{lease!r} is not in {least:g}-{most:g} (seconds)", key=f"{source}.lease")
        self._source, self.lease = source, float(lease)
        self.trouble: str | None = None

    def _take(self) -> Steps[tuple[int, str] | None]:
        """A token and a mark, when nobody has the place."""
        raise NotImplementedError

    def _keep(self, mark: str) -> Steps[bool]:
        """Whether the place is still that of who has the mark, for another lease."""
        raise NotImplementedError

    def _drop(self, mark: str) -> Steps[None]:
        """Give it back, if it is that of who has the mark."""
        raise NotImplementedError

    def acquire(self, now: float) -> Term | None:
        """A new term; None when somebody has one, or the registry cannot be asked."""
        return self._wire.run(self._acquire(now))

    async def aacquire(self, now: float) -> Term | None:
        """The asyncio twin of `acquire`."""
        return await self._wire.arun(self._acquire(now))

    def renew(self, term: Term, now: float) -> Term | None:
        """The term with a later end; itself when the registry cannot be asked; None when it is over."""
        return self._wire.run(self._renew(term, now))

    async def arenew(self, term: Term, now: float) -> Term | None:
        """The asyncio twin of `renew`."""
        return await self._wire.arun(self._renew(term, now))

    def release(self, term: Term) -> None:
        """End the term. Without the registry it ends by itself."""
        self._wire.run(self._release(term))

    async def arelease(self, term: Term) -> None:
        """The asyncio twin of `release`."""
        await self._wire.arun(self._release(term))

    def _acquire(self, now: float) -> Steps[Term | None]:
        try:
            taken = yield from self._take()
        except DiscoveryError as error:
            self.trouble = str(error)
            return None
        self.trouble = None
        return None if taken is None else Term(taken[0], now + self.lease, taken[1])

    def _renew(self, term: Term, now: float) -> Steps[Term | None]:
        try:
            kept = yield from self._keep(term.mark)
        except DiscoveryError as error:
            self.trouble = str(error)
            return term if now < term.until else None
        self.trouble = None
        return Term(term.token, now + self.lease, term.mark) if kept else None

    def _release(self, term: Term) -> Steps[None]:
        try:
            yield from self._drop(term.mark)
        except DiscoveryError as error:
            self.trouble = str(error)

    def close(self) -> None:
        """End what is under way."""
        self._wire.close()

    def __repr__(self) -> str:
        return f"<{self._source}, lease {self.lease:g} s>"
