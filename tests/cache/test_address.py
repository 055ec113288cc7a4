"""Urls of a Redis: what they mean, what is wrong with them, and that a password is never shown."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster.cache import RedisCache
from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.errors import ConfigError

pytest.importorskip("redis")
SECRET = "p@ss/wörd:%"
WRITTEN = "p%40ss%2Fw%C3%B6rd%3A%25"


@pytest.mark.parametrize(
    ("url", "shown", "facts"),
    [
        ("redis://localhost", "redis://localhost:6379/0", {"kind": "server", "tls": None}),
        ("redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3", {"db": 3}),
        ("redis://h?db=4", "redis://h:6379/4", {"db": 4}),
        ("redis://[::1]:7000", "redis://[::1]:7000/0", {"hosts": (("::1", 7000),)}),
        ("rediss://h/1?ssl_ca_certs=/ca.pem", "rediss://h:6379/1", {"tls": (("ssl_ca_certs", "/ca.pem"),)}),
        ("rediss://h", "rediss://h:6379/0", {"tls": ()}),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock", {"socket": "/run/r.sock", "db": 2, "hosts": ()}),
        (
            "redis+sentinel://a:1,b/main/5",
            "redis+sentinel://a:1,b:26379/main/5",
            {"kind": "sentinel", "hosts": (("a", 1), ("b", 26379)), "service": "main", "db": 5},
        ),
        (
            "rediss+cluster://a:1,b:2",
            "rediss+cluster://a:1,b:2",
            {"kind": "cluster", "hosts": (("a", 1), ("b", 2)), "tls": ()},
        ),
    ],
)
def test_an_url_says_where_and_what(url: str, shown: str, facts: dict[str, Any]) -> None:
    address = RedisAddress.parse(url)
    assert str(address) == shown
    assert {name: getattr(address, name) for name in facts} == facts


def test_a_node_of_a_cluster_can_be_told_apart_by_an_argument() -> None:
    assert RedisAddress.parse("redis://h", cluster=True).kind == "cluster"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel", "unix"])
def test_a_password_is_read_and_never_shown(scheme: str) -> None:
    where = {"unix": "/run/r.sock", "redis+sentinel": "h:1/main"}.get(scheme, "h:1")
    address = RedisAddress.parse(f"{scheme}://ann:{WRITTEN}@{where}")
    assert (address.username, address.password) == ("ann", SECRET)
    for shown in (str(address), repr(address)):
        assert SECRET not in shown
        assert WRITTEN not in shown
    assert address.hidden(f"AUTH ann {SECRET} failed") == "AUTH ann *** failed"


def test_user_and_password_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_USER", "ann")
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    address = RedisAddress.parse("redis://bob:other@h").signed_in("REDIS_USER", "REDIS_PASSWORD")
    assert (address.username, address.password) == ("ann", SECRET)
    monkeypatch.setenv("REDIS_PASSWORD", "")
    for name, state in (("REDIS_PASSWORD", "empty"), ("NOT_THERE", "not set")):
        with pytest.raises(ConfigError, match=state) as caught:
            RedisCache.from_url("redis://h", password_env=name)
        assert caught.value.key == "password_env"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:6379", "no scheme"),
        ("", "no scheme"),
        (None, "no scheme"),
        ("http://h", "'http' is not one of a Redis url"),
        ("redis://", "a host is missing"),
        ("redis://h:port", "a port is not"),
        ("redis://h:0", "missing"),
        ("redis://h:70000", "a port is not"),
        ("redis://h/one", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis://h?timeout=3", "unknown option 'timeout'"),
        ("redis://h?ssl_ca_certs=x", "unknown option 'ssl_ca_certs'"),
        ("redis+sentinel://h:1", "no service"),
        ("redis+cluster://h/1", "no numbered databases"),
        ("unix://", "no path"),
    ],
)
def test_what_is_no_url_of_a_redis_is_one_clear_error(url: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        RedisCache.from_url(url)
    assert caught.value.key == "cache.url"


def test_an_error_does_not_show_the_url() -> None:
    with pytest.raises(ConfigError) as caught:
        RedisCache.from_url(f"redis://ann:{WRITTEN}@h:port")
    assert WRITTEN not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_whether_a_name_is_checked_is_a_word_and_no_text() -> None:
    url = "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname={}"
    assert RedisAddress.parse(url.format("false")).tls_options() == {
        "ssl": True, "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False,
    }  # fmt: skip
    assert RedisAddress.parse(url.format("true")).tls_options()["ssl_check_hostname"] is True
    assert RedisAddress.parse("redis://h").tls_options() == {}
    with pytest.raises(ConfigError, match="neither of"):
        RedisAddress.parse(url.format("no"))
