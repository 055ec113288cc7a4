"""Which hosts a discovered endpoint may have before it is called, or given a credential.

Whoever may write to a registry could have prompts and a key sent to a host of their own. What is said
here is about the address as it is written; what a name resolves to is looked at when it is connected to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.address import url_problem

SCHEMES = ("http", "https")
_PATTERN = re.compile(r"(\*|\*\.)?[a-z0-9_*-]*(\.[a-z0-9_*-]+)*", re.IGNORECASE)


class AllowList:
    """Hosts, networks and schemes.

    Args:
        allowed: each a network ("10.0.0.0/8"), an address, a host name, or a name with stars: a leading
            "*." is one label or more, another star is a part of one label, "*" alone is any host. With
            "https://" before it, that scheme only; with ":8000" behind a name or address, that port only.

    Raises:
        ConfigError: something that is none of these.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._given = [allowed] if isinstance(allowed, str) else list(allowed)
        self._rules = [_rule(text, f"factory.allow.{n}") for n, text in enumerate(self._given)]

    def problem(self, url: str) -> str | None:
        """Why `url` may not be called; None when it may. Never shows what is in it."""
        problem = url_problem(url)
        if problem is not None:
            return problem
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if any(rule.admits(parts.scheme, host, port) for rule in self._rules):
            return None
        return "its host is not among those that are allowed"

    def __repr__(self) -> str:
        return f"AllowList({self._given})"


class _Rule:
    __slots__ = ("_name", "_network", "_port", "_scheme")

    def __init__(
        self,
        scheme: str | None,
        port: int | None,
        network: IPv4Network | IPv6Network | None,
        name: re.Pattern[str] | None,
    ) -> None:
        self._scheme, self._port, self._network, self._name = scheme, port, network, name

    def admits(self, scheme: str, host: str, port: int) -> bool:
        if self._scheme not in (None, scheme) or self._port not in (None, port):
            return False
        if self._name is not None:
            return self._name.fullmatch(host) is not None
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return self._network is not None and address in self._network


def _rule(text: object, key: str) -> _Rule:
    if not isinstance(text, str) or not text.strip():
        raise ConfigError("is not a host, a network or a pattern of hosts", key=key)
    scheme, separator, rest = text.strip().lower().rpartition("://")
    if separator and scheme not in SCHEMES:
        raise ConfigError(f"unknown scheme {scheme!r}", key=key, valid=SCHEMES, got=scheme)
    network = _network(rest.strip("[]") if rest.endswith("]") else rest, key)
    if network is not None:
        return _Rule(scheme or None, None, network, None)
    host, colon, number = rest.rpartition(":")
    port = None
    if colon:
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise ConfigError(f"{number!r} is no port, 1-65535", key=key)
        port, rest = int(number), host
        network = _network(rest.strip("[]"), key)
        if network is not None:
            return _Rule(scheme or None, port, network, None)
    if not rest or "/" in rest or _PATTERN.fullmatch(rest) is None:
        raise ConfigError(
            f"{text!r} is no host: write '10.0.0.0/8', 'gpu-1.internal', '*.internal' or 'https://*'", key=key
        )
    labels = rest.split(".")
    if rest != "*" and labels[-1].strip("0123456789*") == "":
        raise ConfigError(f"{text!r} is half an address: write a network, such as '10.0.0.0/8'", key=key)
    return _Rule(scheme or None, port, None, _glob(rest))


def _network(text: str, key: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError as error:
        if "/" in text and "host bits" in str(error):
            raise ConfigError(f"{text!r} has bits set behind its mask", key=key) from None
        return None


def _glob(pattern: str) -> re.Pattern[str]:
    if pattern == "*":
        return re.compile(r".+")
    several = pattern.startswith("*.")
    body = re.escape(pattern.removeprefix("*.")).replace(r"\*", "[^.]*")
    return re.compile((r"([^.]+\.)+" if several else "") + body)
