"""What goes wrong around the servers: kills, stops, and what an operator does to a pool under load."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import Any

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint
from langchain_cluster.testing.server_process import ServerProcess
from tests.chaos.ledger import Ledger


class Trouble:
    """Makes trouble, one piece after another, until told to stop; then puts everything right again."""

    def __init__(
        self,
        llm: ClusteredLLM,
        endpoints: list[Endpoint],
        servers: list[ServerProcess],
        ledger: Ledger,
        seed: int,
    ) -> None:
        self.pool = llm.cluster.pool
        self.endpoints, self.servers, self.ledger = endpoints, servers, ledger
        self.done: Counter[str] = Counter()
        self.gone: list[Any] = []  # members that were taken out, to be looked at in the end
        self._rng = Random(f"{seed} trouble")
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._stopping = Event()
        self._thread = Thread(target=self._work, name="chaos-trouble", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more of it, and everybody is well and in the pool."""
        self._stopping.set()
        self._thread.join()
        for _, mend in self._due:
            mend()
        for server in self.servers:
            server.start().wait_ready()
            self._signal(server, signal.SIGUSR1)
        for endpoint in self.endpoints:
            if self.pool.get(endpoint.id) is None:
                self.pool.add(endpoint)
            self.pool.undrain(endpoint.id)
            self.pool.reset(endpoint.id)

    def _work(self) -> None:
        kinds = (
            self.kill, self.kill, self.pause, self.pause, self.drain, self.migrate, self.force_open,
            self.remove, self.remove, self.replace,
        )  # fmt: skip
        try:
            while not self._stopping.wait(self._rng.uniform(0.2, 1.0)):
                now = monotonic()
                due = [mend for at, mend in self._due if at <= now]
                self._due = [(at, mend) for at, mend in self._due if at > now]
                for mend in due:
                    mend()
                if len(self._due) < len(self.servers) // 2:  # the others have moods enough
                    kind = self._rng.choice(kinds)
                    self.done[kind.__name__] += 1
                    kind(self._rng.randrange(len(self.servers)))
        except Exception as error:
            self.ledger.complain(f"making trouble failed: {error!r}")
            raise

    def _later(self, longest: float, mend: Callable[[], object]) -> None:
        self._due.append((monotonic() + self._rng.uniform(0.3, longest), lambda: (mend(), None)[1]))

    def _signal(self, server: ServerProcess, number: int) -> None:
        if server.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(server.pid, number)

    def kill(self, n: int) -> None:
        """SIGKILL, and a restart on the same port some time later."""
        server = self.servers[n]
        server.kill()
        self._later(3.0, server.start)

    def pause(self, n: int) -> None:
        """SIGSTOP: it takes connections, and says nothing."""
        server = self.servers[n]
        self._signal(server, signal.SIGSTOP)
        self._later(3.0, lambda: self._signal(server, signal.SIGCONT))

    def drain(self, n: int) -> None:
        self._with(n, self.pool.drain)
        self._later(2.0, lambda: self._with(n, self.pool.undrain))

    def migrate(self, n: int) -> None:
        self._with(n, lambda id: self.pool.drain(id, migrate=True))
        self._later(2.0, lambda: self._with(n, self.pool.undrain))

    def force_open(self, n: int) -> None:
        self._with(n, self.pool.force_open)
        self._later(2.0, lambda: self._with(n, self.pool.reset))

    def remove(self, n: int) -> None:
        """Out of the pool, and in again as somebody new."""
        self._with(n, self._remove)
        self._later(2.0, lambda: self._add(n))

    def replace(self, n: int) -> None:
        """A roster of all but one, in another order."""
        kept = [e for e in self.endpoints if self.pool.get(e.id) is not None and e is not self.endpoints[n]]
        self._rng.shuffle(kept)
        member = self.pool.get(self.endpoints[n].id)
        if kept:
            self.gone += [member] if member is not None else []
            self.pool.replace(kept)
            self._later(2.0, lambda: self._add(n))

    def _remove(self, id: str) -> None:
        self.gone.append(self.pool.get(id))
        self.pool.remove(id)

    def _add(self, n: int) -> None:
        if self.pool.get(self.endpoints[n].id) is None:
            self.pool.add(self.endpoints[n])

    def _with(self, n: int, do: Callable[[str], object]) -> None:
        """Do something to an endpoint that may not be there."""
        id = self.endpoints[n].id
        if self.pool.get(id) is not None:
            with suppress(ConfigError):
                do(id)
