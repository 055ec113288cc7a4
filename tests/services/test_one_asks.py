"""Many processes with many callers each ask one new question at one time: a model is asked once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("redis")
pytest.importorskip("langchain_openai")

from langchain_cluster.cache.redis import LEASE
from langchain_cluster.testing import SimulatedServer
from langchain_cluster.testing.server_process import LEASH
from tests.services.one_asks_member import FACES
from tests.services.valkey import INSTALL, Valkey, binary

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
MEMBER = str(Path(__file__).with_name("one_asks_member.py"))


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


def asked(
    server: SimulatedServer, valkey: Valkey, processes: int, callers: int, *more: str
) -> list[tuple[str, Counter[str]]]:
    """(face, how often each answer was given, and from where) of each process."""
    command = [sys.executable, "-P", str(LEASH), MEMBER, server.url, valkey.url, str(processes), str(callers)]
    started = subprocess.Popen([*command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdin is not None
    assert started.stdout is not None
    said = started.stdout.read()
    started.wait(timeout=60)
    started.stdin.close()
    lines = [json.loads(line) for line in said.splitlines()]
    print(*[(face, failures) for face, _, failures in lines if failures], sep="\n")
    return [(face, Counter(told)) for face, told, _ in lines]


def test_of_32_processes_with_50_callers_each_one_caller_asks(
    server: SimulatedServer, valkey: Valkey
) -> None:
    server.behave("gpu-1", latency=1.0)
    told = asked(server, valkey, 32, 50)
    assert server.count("gpu-1") == 1
    assert len(told) == 32
    assert {face for face, _ in told} == set(FACES)
    everything: Counter[str] = sum((answers for _, answers in told), Counter())
    print(everything)
    assert everything.total() == 32 * 50
    assert {answer.split(": ")[1] for answer in everything} == {next(iter(everything)).split(": ")[1]}
    assert sum(n for answer, n in everything.items() if answer.startswith("miss")) == 1


def test_one_that_dies_while_it_asks_is_followed_by_one_other(
    server: SimulatedServer, valkey: Valkey
) -> None:
    server.behave("gpu-1", latency=4 * LEASE)  # the first is killed long before; the second is waited for
    told = asked(server, valkey, 8, 5, "kill")
    assert len(told) == 7
    everything: Counter[str] = sum((answers for _, answers in told), Counter())
    print(everything, [round(seen.at - server.seen("gpu-1")[0].at, 2) for seen in server.seen("gpu-1")])
    assert everything.total() == 7 * 5
    assert sum(n for answer, n in everything.items() if answer.startswith("miss")) == 1
    assert server.count("gpu-1") <= 2  # the one that was killed may not have got as far as that
