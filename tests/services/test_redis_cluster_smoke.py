"""The smoke test of integrations/redis_cluster, against six processes of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("redis")

from tests.architecture.syntax import ROOT
from tests.services.valkey import INSTALL, binary
from tests.services.valkey_cluster import ValkeyCluster

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
SMOKE = ROOT / "integrations" / "redis_cluster" / "smoke.py"


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


def smoke(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SMOKE), *arguments],
        capture_output=True, text=True, timeout=120, env={**os.environ, "REDIS_URL": url},
    )  # fmt: skip


def test_the_promise_holds_and_a_master_that_is_killed_fails_no_call(cluster: ValkeyCluster) -> None:
    done = smoke(cluster.url, "--kill", str(cluster.nodes[1].pid))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 tenants on 3 masters: miss, memory, redis" in done.stdout
    assert "a master was killed: no call failed" in done.stdout


def test_it_fails_where_there_is_no_cluster() -> None:
    assert smoke("redis+cluster://127.0.0.1:1").returncode != 0
