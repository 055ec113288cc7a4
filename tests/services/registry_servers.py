"""Real Consul and etcd servers, fetched by .ci/services, that can be frozen, killed and restarted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from langchain_cluster.testing.server_process import free_port

ROOT = Path(__file__).parents[2]
HOW = "run .ci/services on a Debian machine with apt-get, or put it on the PATH"
REQUIRED = os.environ.get("LANGCHAIN_CLUSTER_SERVICES") == "required"


@cache
def _fetched(name: str) -> tuple[str | None, str]:
    """Where a server's program is, and the last the script said."""
    script = ["bash", str(ROOT / ".ci" / "services"), name]
    try:
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, type(error).__name__
    path, told = (text.strip().splitlines() or [""] for text in (done.stdout, done.stderr))
    return (path[-1] if done.returncode == 0 else None), told[-1]


def program(name: str) -> str:
    """The path of a server's program. Skips the test where it is not to be had; fails it where it must be."""
    path, told = _fetched(name)
    if path is None:
        reason = f"no {name} here ({told}): {HOW}"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    return path


class Server:
    """One process with a folder of its own; its state survives a restart."""

    def __init__(self, command: list[str], url: str, ready: str) -> None:
        self._command, self.url, self._ready = command, url, ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def wait_ready(self, timeout: float = 30.0) -> Self:
        end = time.monotonic() + timeout
        while not self._is_ready():
            assert self._process is not None
            assert self._process.poll() is None, f"it ended: {self._command}"
            assert time.monotonic() < end, "it is not ready"
            time.sleep(0.05)
        return self

    def _is_ready(self) -> bool:
        try:
            answer = httpx.get(self.url + self._ready, timeout=1.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and answer.text.strip() not in ('""', "")

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)
        if number == signal.SIGSTOP:  # it still answers until all its threads have stopped
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start().wait_ready()


class Folder:
    """A folder for the servers of one test module, gone with them."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="registry-"))
        self.servers: list[Server] = []

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.path, ignore_errors=True)


class Consul(Server):
    """A Consul server. `name` is its node's; `join` are serf ports of the others."""

    def __init__(
        self,
        folder: Folder,
        name: str,
        *,
        expect: int = 1,
        serf: int | None = None,
        join: Any = (),
        https: int = -1,
        **extra: Any,
    ) -> None:
        ports = {kind: free_port() for kind in ("http", "serf_lan", "serf_wan", "server")}
        ports |= {"dns": -1, "grpc": -1, "https": https} | ({"serf_lan": serf} if serf else {})
        config = {
            "performance": {"raft_multiplier": 1},
            "check_update_interval": "0s",
            "limits": {"http_max_conns_per_client": 1000},
            "ports": ports,
            **extra,
        }
        file = folder.path / f"{name}.json"
        file.write_text(json.dumps(config))
        command = [program("consul"), "agent", "-server", f"-bootstrap-expect={expect}", "-bind=127.0.0.1"]
        command += ["-client=127.0.0.1", f"-node={name}", "-disable-host-node-id", f"-config-file={file}"]
        command += [f"-data-dir={folder.path / name}", "-log-level=err"]
        command += [f"-retry-join=127.0.0.1:{port}" for port in join] + ["-retry-interval=1s"]
        super().__init__(command, f"http://127.0.0.1:{ports['http']}", "/v1/status/leader")
        folder.servers.append(self)

    def put(self, path: str, value: Any = None, token: str | None = None) -> Any:
        headers = {"X-Consul-Token": token} if token else {}
        content = value if isinstance(value, bytes) else json.dumps(value)
        answer = httpx.put(self.url + path, content=content, headers=headers, timeout=10.0, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path: str, token: str | None = None) -> Any:
        headers = {"X-Consul-Token": token} if token else {}
        answer = httpx.get(self.url + path, headers=headers, timeout=10.0, trust_env=False)
        answer.raise_for_status()
        return answer


class Etcd(Server):
    """An etcd server. `peers`: name -> url of those it is one cluster with, itself among them.

    secure: an https url at which it listens too, with what `options` say of certificates.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        *,
        peers: Mapping[str, str] | None = None,
        secure: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        clients = url if secure is None else f"{url},{secure}"
        peers = {name: f"http://127.0.0.1:{free_port()}"} if peers is None else peers
        self.data = folder.path / name
        command = [program("etcd"), f"--name={name}", f"--data-dir={self.data}", "--log-level=error"]
        command += [f"--listen-client-urls={clients}", f"--advertise-client-urls={url}"]
        command += [f"--listen-peer-urls={peers[name]}", f"--initial-advertise-peer-urls={peers[name]}"]
        command += ["--initial-cluster=" + ",".join(f"{each}={peer}" for each, peer in peers.items())]
        super().__init__([*command, *options], url, "/health")
        folder.servers.append(self)

    def call(self, path: str, value: Any, token: str | None = None) -> Any:
        headers = {"Authorization": token} if token else {}
        answer = httpx.post(self.url + path, json=value, headers=headers, timeout=10.0, trust_env=False)
        answer.raise_for_status()
        return answer.json()
