"""Two processes over one server: what one writes the other's memory gives, and nothing older for long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest

pytest.importorskip("redis")

import redis

from langchain_cluster.testing.server_process import HOST, LEASH
from tests.services.coherent_member import LISTENING, PREFIX
from tests.services.valkey import INSTALL, Valkey, binary

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
MEMBER = str(Path(__file__).with_name("coherent_member.py"))
SECONDS = 5.0


@pytest.fixture
def server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


def read_while(
    server: Valkey, every: float, fallback: float, beside: Callable[[redis.Redis], object]
) -> tuple[list[float], float]:
    """(how late each value was read, how old the oldest was) while this process writes every so often."""
    command = [sys.executable, "-P", str(LEASH), MEMBER, server.url, str(SECONDS), str(fallback)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader,
        redis.Redis(HOST, server.port) as client,
    ):
        while not client.exists(PREFIX + LISTENING):
            assert reader.poll() is None
            time.sleep(0.01)
        ends = time.time() + SECONDS
        while time.time() < ends:
            client.set(f"{PREFIX}k", repr(time.time()))
            beside(client)
            time.sleep(every)
        assert reader.stdout is not None
        said = json.loads(reader.stdout.read())
    return said[0], said[1]


def test_a_write_is_seen_by_the_memory_of_another_process_within_50_ms(server: Valkey) -> None:
    delays, _ = read_while(server, 0.1, 3600.0, lambda client: None)
    late = [f"{1000 * of(delays):.1f}" for of in (min, median, max)]
    print(f"{len(delays)} writes were seen after {late} ms: the quickest, the median, the slowest")
    assert len(delays) > 10
    assert min(delays) < 0.05  # the quickest: others waited for a processor


def test_without_its_listener_it_gives_nothing_older_than_the_fallback_time(server: Valkey) -> None:
    killed = 0

    def kill(client: redis.Redis) -> None:
        nonlocal killed
        killed += client.client_kill_filter(_type="pubsub")  # the listener is who subscribes

    _, oldest = read_while(server, 0.005, 1.0, kill)
    print(f"the listener was killed {killed} times; the oldest value given was {oldest:.2f} s old")
    assert killed > 5
    assert oldest < 1.0 + 0.5  # and what a busy machine adds
