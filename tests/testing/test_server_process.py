"""Servers in processes of their own: killed for real, back on the same port, never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from langchain_cluster.testing.server_process import ServerProcess, free_port

SERVER = """
import argparse, http.server
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--status", type=int, default=200)
given = parser.parse_args()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(given.status)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", given.port), Handler).serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return str(path)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pid: int, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not running(pid)


def test_a_killed_server_comes_back_on_its_port(program: str) -> None:
    with ServerProcess(program) as server:
        first, url = server.pid, server.url
        assert first is not None
        assert server.alive
        server.kill()
        assert not server.alive
        assert not server.ready()
        assert gone(first)
        server.restart(10)
        assert (server.url, server.ready()) == (url, True)
        assert server.pid not in (first, None)
        second = server.pid
    assert second is not None
    assert gone(second)
    assert "not running" in repr(server)


def test_a_server_that_ends_says_why(program: str) -> None:
    server = ServerProcess(program, "--nonsense", name="gpu-9")
    with pytest.raises(RuntimeError, match=r"gpu-9 ended with code 2: .*--nonsense"):
        server.start().wait_ready(10)
    server.close()


def test_a_server_that_is_never_healthy_is_waited_for_so_long_and_no_longer(program: str) -> None:
    server = ServerProcess(program, "--status", "503", name="gpu-9")
    with pytest.raises(TimeoutError, match=r"gpu-9 is not ready after 0\.5 s"):
        server.start().wait_ready(0.5)
    pid = server.pid
    server.close()
    assert pid is not None
    assert gone(pid)


def test_a_server_that_ended_by_itself_can_be_started_again(program: str) -> None:
    with ServerProcess(program) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGTERM)
        end = time.monotonic() + 5.0
        # Not `gone`: a process whose first thread has ended may have others that have not yet.
        while server.alive and time.monotonic() < end:
            time.sleep(0.02)
        assert server.start().wait_ready(10).alive


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_does_not_outlive_its_parent_however_that_ends(program: str, signal_: int) -> None:
    code = (
        "import sys, time, signal; from langchain_cluster.testing.server_process import ServerProcess\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"server = ServerProcess({program!r}).start().wait_ready(10)\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert running(pid)
    parent.send_signal(signal_)
    parent.wait(10)
    parent.stdout.close()
    assert gone(pid)


def test_free_ports_differ_and_lie_below_those_that_connections_take() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert all(20_000 <= port < 30_000 for port in ports)
