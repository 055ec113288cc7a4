"""One holder per fleet by a key in etcd that lives as long as its lease is kept alive.

The key is written in a transaction that fails when it is there; its lease ends no earlier than its time
to live after the last renewal. The token is etcd's revision at that write, which only grows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from langchain_cluster.errors import DiscoveryError
from langchain_cluster.leadership.by_registry import ByRegistry
from langchain_cluster.registry.etcd_api import EtcdApi, coded
from langchain_cluster.registry.secret import Secret
from langchain_cluster.registry.servers import Servers
from langchain_cluster.registry.wire import Steps, Wire


class EtcdLeadership(ByRegistry):
    """A `Leadership` in etcd.

    Args:
        key: in etcd. Who uses another key is another fleet.
        endpoints: url of a server, or several, asked in turn.
        user_env, password_env, password_file: where the user's name and password are read; None for none.
        lease: seconds a term lasts unless it is renewed, 1-86400; rounded down.
        timeout: seconds a server may take.
        ca, cert, key_file, verify: TLS.

    Raises:
        ConfigError: one of them cannot be meant.
    """

    def __init__(
        self,
        key: str = "/langchain-cluster/leader",
        endpoints: str | Iterable[str] = "http://127.0.0.1:2379",
        *,
        user_env: str | None = None,
        password_env: str | None = None,
        password_file: str | os.PathLike[str] | None = None,
        lease: float = 30.0,
        timeout: float = 2.0,
        ca: str | None = None,
        cert: str | None = None,
        key_file: str | None = None,
        verify: bool = True,
    ) -> None:
        source = f"EtcdLeadership({key!r})"
        super().__init__(source, lease, least=1.0, most=86400.0)
        self.lease = float(int(lease))
        self._key = coded(key)
        self._api = EtcdApi(
            source,
            Servers(endpoints, key=f"{source}.endpoints", port=2379),
            user=Secret(source, "user", user_env),
            password=Secret(source, "password", password_env, password_file),
            timeout=timeout,
        )
        self._wire = Wire(source, ca=ca, cert=cert, key=key_file, verify=verify)

    def _take(self) -> Steps[tuple[int, str] | None]:
        if (yield from self._holder()) is not None:
            return None
        granted = yield from self._api.call("/v3/lease/grant", {"TTL": str(int(self.lease)), "ID": "0"})
        mark = str(granted.get("ID", ""))
        put = {"key": self._key, "value": "", "lease": mark}
        absent = {"key": self._key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        done = yield from self._api.call(
            "/v3/kv/txn", {"compare": [absent], "success": [{"request_put": put}], "failure": []}
        )
        if not done.get("succeeded"):
            yield from self._drop(mark)
            return None
        return int(done["header"]["revision"]), mark

    def _holder(self) -> Steps[str | None]:
        """The lease under which the key is; None when it is not there."""
        answer = yield from self._api.call("/v3/kv/range", {"key": self._key})
        found = answer.get("kvs") or []
        return str(found[0].get("lease", "")) if found else None

    def _keep(self, mark: str) -> Steps[bool]:
        kept = yield from self._api.call("/v3/lease/keepalive", {"ID": mark})
        if str((kept.get("result") or {}).get("TTL", "0")) == "0":
            return False
        return (yield from self._holder()) == mark

    def _drop(self, mark: str) -> Steps[None]:
        try:
            yield from self._api.call("/v3/lease/revoke", {"ID": mark})
        except DiscoveryError as error:
            if "lease not found" not in str(error):  # it has ended by itself
                raise
