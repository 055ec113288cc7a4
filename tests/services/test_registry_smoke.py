"""What integrations/consul and integrations/etcd promise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("consul")
pytest.importorskip("langchain_openai")

from tests.services.registry_servers import ROOT, Consul, Etcd, Folder

pytestmark = pytest.mark.services


@pytest.fixture
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


@pytest.mark.parametrize("kind", [Consul, Etcd])
def test_the_promise_holds(folder: Folder, kind: type[Consul] | type[Etcd]) -> None:
    server = kind(folder, "smoke").start().wait_ready()
    smoke = ROOT / "integrations" / kind.__name__.lower() / "smoke.py"
    done = subprocess.run(
        [sys.executable, str(smoke), server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
