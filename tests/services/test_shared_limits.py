"""Eight processes at one limit: together they get what one would."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("redis")

pytestmark = pytest.mark.services
MEMBER = str(Path(__file__).with_name("limits_member.py"))
PROCESSES, RPM = 8, 24
Process = subprocess.Popen[str]


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Whatever is in it at the end is killed."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_eight_processes_at_a_limit_get_it_once(valkey_url: str, started: list[Process]) -> None:
    namespace = secrets.token_hex(8)
    for _ in range(PROCESSES):
        started.append(
            subprocess.Popen(
                [sys.executable, "-P", MEMBER, valkey_url, namespace, str(RPM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    let = [int(process.communicate(timeout=60)[0]) for process in started]
    assert sum(let) == RPM, let
