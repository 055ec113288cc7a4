"""Who may ask what: every rule of the admin app's safety, as decisions about a request's head.

Nothing here does I/O. A request from this machine may read, as long as no proxy passed it on; anything
else needs the token. A page of another site may do nothing: its requests are known by `Origin` and
`Sec-Fetch-Site`, a name that was bent to point here by `Host`, and a form cannot send the token's header.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from urllib.parse import parse_qsl

from langchain_cluster.errors import ConfigError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
READS = frozenset({"GET", "HEAD"})
# What proxies add, those of clouds included.
_FORWARDED = re.compile(
    r"forwarded|via|x-forwarded-.+|x-original-.+|x-real-ip|x-client-ip|x-cluster-client-ip|x-envoy-.+"
    r"|true-client-ip|cf-.+|fastly-.+|x-azure-.+|x-amzn-.+|cdn-loop"
)
_IN_QUERY = frozenset({"token", "access_token", "bearer", "authorization", "api_key", "apikey", "key"})
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Head:
    """What of a request decides: header names are in lower case, each with all its values."""

    method: str
    path: str
    query: str
    headers: dict[str, list[str]] = field(repr=False)
    client: str | None

    def one(self, name: str) -> str | None:
        """A header's only value; None when it is absent, or there several times."""
        values = self.headers.get(name, [])
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: an HTTP status, a sentence, and headers that belong to it."""

    status: int
    why: str
    headers: tuple[tuple[str, str], ...] = ()


_BEARER = (("www-authenticate", 'Bearer realm="langchain-cluster"'),)


class Gate:
    """The rules of one app.

    Args:
        token_env: the variable that holds the token.
        hosts: further names it may be asked by; "*" for any.
        open_paths: what anybody may read, for it tells nothing: the page itself.

    Raises:
        ConfigError: `token_env` is no name of a variable, or one of `hosts` no host.
    """

    def __init__(
        self, token_env: str, hosts: Collection[str] = (), *, open_paths: Collection[str] = ()
    ) -> None:
        if not _VARIABLE.fullmatch(token_env):
            raise ConfigError("this is not the name of an environment variable", key="token_env")
        if isinstance(hosts, str):
            hosts = (hosts,)
        for host in hosts:
            if host != "*" and (
                not _HOST.fullmatch(_bracketed(host)) or _name(_bracketed(host)) != host.lower()
            ):
                raise ConfigError(f"{host!r} is not a host: give it without port", key="hosts")
        self.token_env = token_env
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._open = frozenset(open_paths)

    def refuse(self, head: Head) -> Refusal | None:
        """Why this request may not go on; None when it may."""
        return self._host(head) or self._query(head) or self._elsewhere(head) or self._stranger(head)

    def _host(self, head: Head) -> Refusal | None:
        host = head.one("host")
        if host is None or not _HOST.fullmatch(host):
            return Refusal(400, "there has to be one Host header that names a host")
        if _name(host) not in self._hosts and "*" not in self._hosts:
            return Refusal(421, "this host name is not served here")
        return None

    def _query(self, head: Head) -> Refusal | None:
        names = {name.lower() for name, _ in parse_qsl(head.query, keep_blank_values=True)}
        if names & _IN_QUERY:  # addresses are kept in logs and histories
            return Refusal(400, "a token does not belong in an address: send it as Authorization: Bearer")
        return None

    def _elsewhere(self, head: Head) -> Refusal | None:
        """A browser says which site a request comes from; what is no browser says nothing."""
        refusal = Refusal(403, "pages of another origin may not ask")
        if "origin" in head.headers:
            origin = head.one("origin") or ""
            place = origin.partition("://")[2].lower()
            if not place or place != (head.one("host") or "").lower():
                return refusal
        site = head.headers.get("sec-fetch-site", ["none"])
        if site not in (["none"], ["same-origin"]):
            goes_there = head.method in READS and head.one("sec-fetch-mode") == "navigate"
            if not goes_there or head.one("sec-fetch-dest") != "document":  # somebody followed a link
                return refusal
        return None

    def _stranger(self, head: Head) -> Refusal | None:
        reads = head.method in READS
        if reads and (head.path in self._open or is_local(head)):
            return None
        token = os.environ.get(self.token_env, "").strip()
        if not token:
            what = "reading from elsewhere" if reads else "writing"
            return Refusal(403, f"{what} is switched off: {self.token_env} is not set where this runs")
        if not _same(head.one("authorization"), token):
            return Refusal(401, "a valid token is needed: Authorization: Bearer TOKEN", _BEARER)
        return None


def is_local(head: Head) -> bool:
    """Whether the other end is on this machine, and is not a proxy that speaks for somebody else."""
    if head.client is None or any(map(_FORWARDED.fullmatch, head.headers)):
        return False
    try:
        address = ip_address(head.client)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def _same(given: str | None, token: str) -> bool:
    """Compare digests, so that the time it takes tells neither a letter nor the length."""
    scheme, _, words = (given or "").partition(" ")
    offered = sha256(words.strip().encode("utf-8", "surrogateescape")).digest()
    return hmac.compare_digest(offered, sha256(token.encode("utf-8", "surrogateescape")).digest()) and (
        scheme.lower() == "bearer"
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _name(host: str) -> str:
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]").lower() if found else ""
