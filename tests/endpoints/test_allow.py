"""Which hosts may be called."""

from __future__ import annotations

import pytest

from langchain_cluster.endpoints.allow import AllowList
from langchain_cluster.errors import ConfigError


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("10.0.0.0/8", "http://10.200.3.4:8000/v1"),
        ("10.0.0.1", "http://10.0.0.1"),
        ("10.0.0.1:8000", "http://10.0.0.1:8000/v1"),
        ("fd00::/8", "http://[fd00::7]:8000"),
        ("[fd00::7]:8000", "http://[fd00::7]:8000"),
        ("*.internal", "http://a.b.INTERNAL.:8000"),
        ("gpu-*.internal", "https://gpu-17.internal"),
        ("llm.example.com", "https://LLM.example.com/v1"),
        ("https://*.example.com", "https://a.example.com"),
        ("https://10.0.0.0/8", "https://10.0.0.1"),
        ("*", "http://anything.example:9"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_a_host_that_is_allowed(rule: str, url: str) -> None:
    assert AllowList([rule]).problem(url) is None


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("10.0.0.0/8", "http://11.0.0.1"),
        ("10.0.0.0/8", "http://10.evil.com"),
        ("10.0.0.0/8", "http://[::ffff:11.0.0.1]"),
        ("*.internal", "http://internal"),
        ("*.internal", "http://evil.com/.internal"),
        ("*.internal", "http://internal.evil.com"),
        ("*.internal", "http://evilinternal"),
        ("gpu-*.internal", "http://gpu-1.evil.internal"),
        ("gpu-*", "http://gpu-1.evil.com"),
        ("https://*.example.com", "http://a.example.com"),
        ("10.0.0.1:8000", "http://10.0.0.1:8001"),
        ("10.0.0.1:8000", "http://10.0.0.1"),
        ("*", "file:///etc/passwd"),
        ("*", "http://user:password@example.com"),
        ("*", "http://169.254.169.254/latest"),
        ("*", "http://[fe80::1%25eth0]"),
        ("*", "http://2852039166"),
        ("0.0.0.0/0", "http://169.254.169.254"),
    ],
)
def test_a_host_that_is_not(rule: str, url: str) -> None:
    problem = AllowList([rule]).problem(url)
    assert problem is not None
    assert "password" not in problem.replace("a user or a password", "")


def test_nobody_is_allowed_by_an_empty_list() -> None:
    assert AllowList([]).problem("http://10.0.0.1") == "its host is not among those that are allowed"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("", "factory.allow.0: is not a host"),
        ("ftp://*", "unknown scheme 'ftp': expected one of http, https"),
        ("10.0.0.1/8", "has bits set behind its mask"),
        ("10.*", "is half an address: write a network"),
        ("a/b", "is no host: write '10.0.0.0/8'"),
        ("a:70000", "'70000' is no port, 1-65535"),
        ("a:x", "'x' is no port"),
    ],
)
def test_what_is_no_host_is_told(rule: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        AllowList([rule])


def test_a_repr_tells_what_is_allowed() -> None:
    assert repr(AllowList("*.internal")) == "AllowList(['*.internal'])"
