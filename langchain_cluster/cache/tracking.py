"""A Redis tells which keys under a prefix have changed, whoever changed them: the thread that listens.

`CLIENT TRACKING ON BCAST PREFIX p REDIRECT itself` and a subscription, on one connection per master, which
servers from 6.0 on understand. A connection that says nothing for a while is asked whether it is there: a
line that was cut in silence is known to be lost within `LOST` seconds.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from threading import Event, Thread, current_thread
from typing import Any

from langchain_cluster.cache.clients import Clients, disconnect

BEAT = 0.5  # seconds of silence after which a server is asked whether it is there
LOST = 1.25  # seconds of silence after which it is taken for gone
PAUSES = (0.05, 0.1, 0.25, 0.5, 1.0)  # seconds between two tries to listen
CHANNEL = "__redis__:invalidate"


class Tracking:
    """Listens until `close`, and begins anew whenever it is cut off.

    Args:
        clients: makes connections.
        prefix: of the keys to be told of.
        changed: told the keys as bytes, or None for all of them.
        ready, lost: told when all masters are listened to, and when they are not any more.
    """

    def __init__(
        self,
        clients: Clients,
        prefix: bytes,
        *,
        changed: Callable[[list[bytes] | None], None],
        ready: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._clients, self._prefix = clients, prefix
        self._changed, self._ready, self._lost = changed, ready, lost
        self._stop = Event()
        self._bell, self._ear = socket.socketpair()
        self._thread = Thread(target=self._run, name="langchain-cluster-cache-changes", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        tries = 0
        while not self._stop.is_set():
            lines: list[tuple[Any, Any]] = []
            listening = False
            try:
                masters = self._connect(lines)
                listening, tries = True, 0
                self._ready()
                self._listen([line for _, line in lines], masters)
            except Exception:
                pass  # whatever it was: the line is lost, and is laid anew
            finally:
                for client, line in lines:
                    line.disconnect()
                    disconnect(client)
                if listening:
                    self._lost()
            self._stop.wait(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    def _connect(self, lines: list[tuple[Any, Any]]) -> set[str]:
        """A line to each master; the names of a cluster's masters."""
        masters: set[str] = set()
        if self._clients.address.kind == "cluster":
            cluster = self._clients.make()
            try:
                nodes = [(node.host, node.port, node.name) for node in cluster.get_primaries()]
            finally:
                disconnect(cluster)
            masters = {name for _, _, name in nodes}
            clients = [self._clients.at(host, port) for host, port, _ in nodes]
        else:
            clients = [self._clients.make()]
        for client in clients:
            line = client.connection_pool.make_connection()
            lines.append((client, line))
            line.connect()
            line.send_command("CLIENT", "ID")
            itself = line.read_response()
            line.send_command("CLIENT", "TRACKING", "ON", "REDIRECT", itself, "BCAST", "PREFIX", self._prefix)
            line.read_response()
            line.send_command("SUBSCRIBE", CHANNEL)
            line.read_response()
        return masters

    def _listen(self, lines: list[Any], masters: set[str]) -> None:
        heard = dict.fromkeys(lines, time.monotonic())
        sockets = {line._sock: line for line in lines}
        while not self._stop.is_set():
            ready, _, _ = select.select([self._ear, *sockets], [], [], BEAT)
            now = time.monotonic()
            for one in ready:
                if one is self._ear:
                    return
                line = sockets[one]
                heard[line] = now
                while line.can_read(timeout=0):
                    self._hear(line.read_response())
            for line, last in heard.items():
                if now - last > LOST:
                    raise ConnectionError("it says nothing any more")
                if now - last >= BEAT:
                    line.send_command("PING")
            if not ready and masters and masters != self._masters():
                return  # somebody else is master: listen to them

    def _masters(self) -> set[str]:
        return {node.name for node in self._clients.blocking().get_primaries()}

    def _hear(self, said: Any) -> None:
        if isinstance(said, list) and said[0] == b"message":
            self._changed(said[2])

    def close(self) -> None:
        """Stop listening, and wait until that is so."""
        self._stop.set()
        self._bell.send(b"x")
        if self._thread is not current_thread():
            self._thread.join()
        self._bell.close()
        self._ear.close()
