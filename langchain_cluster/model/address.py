"""Where no endpoint can be, whoever says so: link-local addresses, those of clouds' metadata, nobody's own.

A registry is written by many. An entry that points at 169.254.169.254 would send prompts, and perhaps
a credential, to the service that hands out a machine's own. Which other hosts may be called, and with
which credential, is not decided here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
# Beside the link-local ones: Amazon over IPv6, Alibaba, Oracle, Azure's wire server.
_METADATA = {
    ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
}
_METADATA_NAMES = {
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
}
_EMBEDDING = ip_network("64:ff9b::/96")  # an IPv4 address in its last 32 bits (RFC 6052)


def host_problem(host: str) -> str | None:
    """Why nothing at `host` may be called; None when nothing speaks against it.

    host: a name or an IP address, without port; an IPv6 address without brackets.
    """
    if not host:
        return "it has no address"
    if "@" in host:
        return "its address has a user or a password in it"
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return _name_problem(name)
    return _ip_problem(address)


def _name_problem(name: str) -> str | None:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "its address is neither a host name nor an IP address"
    if _NUMBER.fullmatch(labels[-1]):
        # inet_aton takes 2852039166, 0xa9fea9fe and 169.254.43518 for addresses; so do HTTP clients.
        return "its address is an unusual spelling of an IP address"
    if name in _METADATA_NAMES:
        return "its address is that of a metadata service"
    return None


def _ip_problem(address: IPv4Address | IPv6Address) -> str | None:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _EMBEDDING:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _ip_problem(inner)
    if address.is_link_local:
        return "its address is link-local, where metadata services are"
    if address in _METADATA:
        return "its address is that of a metadata service"
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        return "its address is nobody's own"
    return None


def port_problem(port: object) -> str | None:
    """Why `port` is none; None when it is one."""
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        return f"its port {str(port)[:20]!r} is not in 1-65535"
    return None


def url_problem(url: str) -> str | None:
    """Why `url` may not be called; None when nothing speaks against it. Never shows what is in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "its url is none"
    if any(character.isspace() for character in url) or "\\" in url:
        return "its url is none"
    if parts.scheme not in ("http", "https"):
        return "its url is not http:// or https://"
    if "@" in parts.netloc:
        return "its url has a user or a password in it"
    if port == 0:
        return "its port '0' is not in 1-65535"
    return host_problem(host or "")
