"""Eight processes and an endpoint that is down: what learning that costs, each for itself and together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sharing_member import SECONDS

redis = pytest.importorskip("redis")

pytestmark = pytest.mark.services
MEMBER = str(Path(__file__).with_name("sharing_member.py"))
PROCESSES = 8
# Seconds between the calls of each: some are busier than others. (Where all are as busy, all see the same
# number of failures before the first circuit opens, and only the probes are saved.)
PAUSES = [0.01 * 2**number for number in range(PROCESSES)]
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


def run(started: list[Process], valkey: str, namespace: str) -> dict[str, int]:
    """The sums over all processes."""
    fleet = [
        subprocess.Popen(
            [sys.executable, "-P", MEMBER, valkey, namespace, str(pause)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for pause in PAUSES
    ]
    started.extend(fleet)
    for process in fleet:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    if valkey != "-":
        channel = f"langchain-cluster:{{{namespace}}}:hearsay:news"
        ends = time.monotonic() + 60
        with redis.Redis.from_url(valkey) as client:
            while client.pubsub_numsub(channel)[0][1] < PROCESSES:
                assert time.monotonic() < ends, "they do not listen"
                time.sleep(0.01)
    for process in fleet:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [json.loads(process.communicate(timeout=120)[0]) for process in fleet]
    return {what: sum(one[what] for one in found) for what in ("attempts", "calls")}


def test_eight_processes_lose_far_fewer_attempts_together(started: list[Process], valkey_url: str) -> None:
    alone = run(started, "-", "-")
    together = run(started, valkey_url, "eight")
    print(f"{PROCESSES} processes, {SECONDS:g} s, one of four endpoints down: failed attempts")
    print(f"  each for itself  {alone['attempts']}")
    print(f"  shared           {together['attempts']}")
    assert alone["calls"] == together["calls"] == 0
    assert together["attempts"] * 2 <= alone["attempts"]
