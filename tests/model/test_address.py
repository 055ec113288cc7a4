"""Addresses that nothing is called at."""

from __future__ import annotations

import pytest

from langchain_cluster.model.address import host_problem, port_problem, url_problem


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "127.0.0.1",
        "::1",
        "fd00::1",
        "gpu-1",
        "gpu_1.svc.cluster.local.",
        "8.8.8.8",
        "a" * 63,
        "x1",
    ],
)
def test_where_an_endpoint_may_be(host: str) -> None:
    assert host_problem(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd00:0ec2:0:0:0:0:0:254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "100.100.100.200",
        "192.0.0.192",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "0251.0376.0251.0376",
        "10.0.0.0x1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "a b",
        "a/b",
        "a..b",
        "-a",
        "user@host",
        "a" * 64,
        ".".join(["a"] * 200),
        "hôst",
    ],
)
def test_where_none_is(host: str) -> None:
    assert host_problem(host)


@pytest.mark.parametrize("port", [0, -1, 65536, 70000, "80", None, 80.0, True])
def test_what_is_no_port(port: object) -> None:
    assert port_problem(port)


def test_what_is_one() -> None:
    assert port_problem(1) is port_problem(65535) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gpu-1",
        "file:///etc/passwd",
        "ftp://h",
        "http://",
        "http://u:canary@h/",
        "http://canary@h/",
        "http://h:0/",
        "http://h:70000/",
        "http://[::1/",
        "http://h/a b",
        "http://h\\@169.254.169.254/",
        "http://169.254.169.254/latest",
        "http://[fe80::1]:80/",
    ],
)
def test_a_url_that_is_not_called(url: str) -> None:
    told = url_problem(url)
    assert told
    assert "canary" not in told


@pytest.mark.parametrize("url", ["http://10.0.0.1:8000/v1", "https://gpu-1.internal", "http://[::1]:8000/"])
def test_a_url_that_may_be(url: str) -> None:
    assert url_problem(url) is None
