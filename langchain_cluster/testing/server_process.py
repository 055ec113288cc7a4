"""A server in a process of its own: it can be killed for real, comes back on its port, and never
outlives the process that started it.

    server = ServerProcess("langchain_cluster.testing.simulated", "--name", "gpu-1")
    with server:
        server.kill()                    # SIGKILL: connections are reset, nothing is said
        server.start().wait_ready()

It is in a session of its own, so that Ctrl-C reaches the parent alone, and on a leash (`leash.py`),
so that even a parent that is killed leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

LEASH = Path(__file__).with_name("leash.py")
HOST = "127.0.0.1"
# Below the range connections take their own ports from: while a server is down, nobody may get its port.
PORTS = range(20_000, 30_000)
LOOK = 0.5  # seconds a health check may take
_next = count(Random().randrange(len(PORTS)))


class ServerProcess:
    """A server program, started with `--port` and healthy when `/health` answers 200.

    Args:
        program: a module, or the path of a script.
        *arguments: its arguments beside the port.
        name: what it is called in errors.
    """

    def __init__(self, program: str, *arguments: str, name: str = "server") -> None:
        self.name = name
        self.port = free_port()
        self._command = [sys.executable, "-P", str(LEASH), program, "--port", str(self.port), *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile("a+b")  # noqa: SIM115  (as long as this object)
        self._end: weakref.finalize[..., ServerProcess] | None = None

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{HOST}:{self.port}"

    @property
    def openai_url(self) -> str:
        """The `base_url` of a `ChatOpenAI`."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int | None:
        """Of its process; None when there is none."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs, ready or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the process and return at once; does nothing when it runs."""
        if self.alive:
            return self
        self.kill()  # of one that ended by itself
        self._output.truncate(0)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self._process)  # at exit too
        return self

    def ready(self) -> bool:
        """Whether it is healthy now; takes half a second at most."""
        connection = HTTPConnection(HOST, self.port, timeout=LOOK)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def check(self) -> None:
        """Raises RuntimeError, with the last it said, when it should run and does not."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise RuntimeError(f"{self.name} ended with code {code}: {self.said() or 'it said nothing'}")

    def wait_ready(self, timeout: float = 60.0) -> Self:
        """Wait until it is healthy, at most `timeout` seconds.

        Raises:
            RuntimeError: it ended instead. TimeoutError: it did neither.
        """
        end = time.monotonic() + timeout
        while not self.ready():
            self.check()
            if time.monotonic() >= end:
                raise TimeoutError(f"{self.name} is not ready after {timeout:g} s: {self.said()}")
            time.sleep(0.05)
        return self

    def said(self) -> str:
        """The end of its output, on one line."""
        self._output.seek(0)
        return " ".join(self._output.read().decode(errors="replace").split())[-500:]

    def kill(self) -> None:
        """SIGKILL. Does nothing when it is dead."""
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def restart(self, timeout: float = 60.0) -> Self:
        """Kill it if it runs, start it on the same port, and wait until it is healthy."""
        self.kill()
        return self.start().wait_ready(timeout)

    def close(self) -> None:
        """Kill it and forget what it said."""
        self.kill()
        self._output.close()

    def __enter__(self) -> Self:
        return self.start().wait_ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"process {self.pid}" if self.alive else "not running"
        return f"<{type(self).__name__} {self.name} {self.url}, {state}>"


def free_port() -> int:
    """A port nobody listens on, a different one each time.

    Raises:
        OSError: none is free.
    """
    for _ in PORTS:
        port = PORTS[next(_next) % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port in {PORTS}")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # its session's group; not reaped yet, so still its pid
        else:
            process.kill()
    except ProcessLookupError:
        pass  # it ended by itself
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
