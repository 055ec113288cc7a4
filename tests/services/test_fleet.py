"""Eight processes check one model: one of them asks, and when it is killed another one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("redis")
pytest.importorskip("langchain_openai")

from langchain_cluster.testing import SimulatedServer
from langchain_cluster.testing.server_process import LEASH
from tests.services.fleet_member import EVERY, LEASE

pytestmark = pytest.mark.services
MEMBER = str(Path(__file__).with_name("fleet_member.py"))


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def fleet(server: SimulatedServer, valkey_url: str) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The processes by their ids."""
    command = [sys.executable, "-P", str(LEASH), MEMBER, server.url, valkey_url]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) for _ in range(8)]
    yield {str(process.pid): process for process in started}
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def wait(condition: Callable[[], object], within: float) -> None:
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, f"not within {within} s"
        time.sleep(0.01)


def test_one_of_eight_processes_asks_and_when_it_is_killed_another_one_does(
    server: SimulatedServer, fleet: dict[str, subprocess.Popen[bytes]]
) -> None:
    def who() -> list[str]:
        return [seen.body["messages"][0]["content"] for seen in server.seen()]

    wait(lambda: server.count() >= 3, within=60)
    time.sleep(3.0)  # all of them have begun by now
    for _ in range(2):
        known = server.count()
        wait(lambda: server.count() > known, within=10)  # noqa: B023
        holder = who()[-1]
        killed_at, before = time.monotonic(), server.count()
        fleet[holder].kill()
        wait(lambda: [pid for pid in who()[before:] if pid != holder], within=LEASE + 10)  # noqa: B023
        taken = next(s.at for s in server.seen()[before:] if s.body["messages"][0]["content"] != holder)
        print(f"{holder} was killed; taken over {taken - killed_at:.2f} s later (lease {LEASE:g} s)")
        server_log = server.seen()
        gaps = [later.at - earlier.at for earlier, later in pairwise(server_log)]
        assert min(gaps) > EVERY - 0.005
    assert server.count() > 10
