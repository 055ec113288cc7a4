"""Where is the Redis, and of what kind? An url read once, so that what is shown of it later holds no secret.

    redis://host:port/db                      one server; rediss:// over TLS
    unix:///path/to/socket?db=0               one server on this machine
    redis+sentinel://host:port,host:port/service/db
    redis+cluster://host:port,host:port       rediss+... over TLS, both

User and password may stand before the host (`redis://user:password@host`), percent-encoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from langchain_cluster.errors import ConfigError

Kind = Literal["server", "sentinel", "cluster"]
SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("server", False), "rediss": ("server", True), "unix": ("server", False),
    "redis+sentinel": ("sentinel", False), "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False), "rediss+cluster": ("cluster", True),
}  # fmt: skip
TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
)
_PORTS = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Of one server, of the sentinels that know it, or of some nodes of a cluster.

    Attributes:
        hosts: (name or IP, port) of each; empty with a `socket`.
        tls: None for none, else redis-py's `ssl_...` options.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    socket: str | None = None
    service: str | None = None
    db: int = 0
    tls: tuple[tuple[str, str], ...] | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: object, *, cluster: bool = False) -> RedisAddress:
        """Read an url; `cluster` makes `redis://` one node of a cluster.

        Raises:
            ConfigError: it is none of the forms above. The url is not shown: it may hold a password.
        """
        scheme, separator, rest = url.partition("://") if isinstance(url, str) else ("", "", "")
        if not separator or scheme not in SCHEMES:
            shown = repr(scheme) if separator and scheme.isascii() and scheme.isprintable() else "no scheme"
            raise _wrong(f"{shown} is not one of a Redis url", valid=SCHEMES)
        kind, tls = SCHEMES[scheme]
        if cluster and kind == "server":
            kind = "cluster"
        login, at, where = rest.rpartition("@")
        # What urlsplit does not read: a list of hosts. It gets the rest.
        parts = urlsplit("//-" + where[len(where.partition("/")[0].partition("?")[0]) :])
        hosts = where.partition("/")[0].partition("?")[0]
        path, options = unquote(parts.path), dict(parse_qsl(parts.query))
        user, _, password = login.partition(":")
        found = cls(
            kind,
            () if scheme == "unix" else _hosts(hosts, _PORTS[kind]),
            socket=path if scheme == "unix" else None,
            tls=tuple((name, options.pop(name)) for name in TLS_OPTIONS if name in options) if tls else None,
            username=unquote(user) or None if at else None,
            password=unquote(password) or None if at else None,
        )
        steps = [] if scheme == "unix" else [step for step in path.split("/") if step]
        if kind == "sentinel":
            if not steps:
                raise _wrong("no service: redis+sentinel://host:port,host:port/service/db")
            found = replace(found, service=steps.pop(0))
        if scheme == "unix" and len(path) < 2:
            raise _wrong("no path of a socket: unix:///path/to/socket")
        db = steps.pop(0) if steps else options.pop("db", "0")
        if steps or not db.isdecimal():
            raise _wrong("what follows the host is not the number of a database")
        if kind == "cluster" and int(db):
            raise _wrong("a cluster has no numbered databases")
        checks = dict(found.tls or ()).get("ssl_check_hostname", "true")
        if checks not in ("true", "false"):
            raise _wrong("ssl_check_hostname is neither of", valid=("true", "false"), got=checks)
        if options:
            valid = ["db", *TLS_OPTIONS] if tls else ["db"]
            raise _wrong(f"unknown option {next(iter(options))!r}", valid=valid, got=next(iter(options)))
        return replace(found, db=int(db))

    def signed_in(self, username_env: str | None, password_env: str | None) -> RedisAddress:
        """With the user and password of these environment variables.

        Raises:
            ConfigError: one is not set, or empty.
        """
        found = self
        if username_env is not None:
            found = replace(found, username=variable(username_env, "username_env"))
        if password_env is not None:
            found = replace(found, password=variable(password_env, "password_env"))
        return found

    def tls_options(self) -> dict[str, Any]:
        """redis-py's arguments for `tls`; none without it."""
        if self.tls is None:
            return {}
        given: dict[str, Any] = dict(self.tls)
        if "ssl_check_hostname" in given:  # a text would be true, whatever it says
            given["ssl_check_hostname"] = given["ssl_check_hostname"] == "true"
        return {"ssl": True, **given}

    def hidden(self, text: str) -> str:
        """`text` without the password, whoever wrote it there."""
        return text.replace(self.password, "***") if self.password else text

    def __str__(self) -> str:
        scheme = ("rediss" if self.tls is not None else "redis") + (
            "" if self.kind == "server" else f"+{self.kind}"
        )
        if self.socket is not None:
            return f"unix://{self.socket}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        service = f"/{self.service}" if self.service is not None else ""
        return f"{scheme}://{hosts}{service}" + (f"/{self.db}" if self.kind != "cluster" else "")


def _hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for one in text.split(","):
        try:
            read = urlsplit(f"//{one}")
            host, number = read.hostname, read.port
        except ValueError:
            raise _wrong("a port is not a number from 1 to 65535") from None
        if not host or number == 0:
            raise _wrong("a host is missing")
        found.append((host, number or port))
    return tuple(found)


def variable(name: str, key: str) -> str:
    """What an environment variable holds. Raises ConfigError when it is not set, or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(
            f"the environment variable it names is {'empty' if name in os.environ else 'not set'}", key=key
        )
    return value


def _wrong(problem: str, *, valid: Iterable[str] = (), got: str | None = None) -> ConfigError:
    return ConfigError(problem, key="cache.url", valid=tuple(valid), got=got)
