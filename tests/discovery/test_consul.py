"""ConsulDiscovery against a fake agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("consul")

from langchain_cluster.discovery import ConsulDiscovery
from langchain_cluster.errors import ConfigError, DiscoveryError
from tests.contracts.discovery import Fetching, WatchedContract, weights
from tests.discovery.fake_consul import FakeConsul, instance


@pytest.fixture
def consul() -> Iterator[FakeConsul]:
    with FakeConsul() as consul:
        yield consul


class TestConsulDiscovery(WatchedContract):
    @pytest.fixture
    def registry(self, consul: FakeConsul) -> FakeConsul:
        return consul


def queries(consul: FakeConsul) -> list[str]:
    return [request.path.partition("?")[2] for request in consul.asked]


def test_an_index_that_goes_backwards_is_forgotten(consul: FakeConsul, colour: str) -> None:
    consul.put({"a": 1.0})
    first = Fetching(consul.source, None, colour).roster()
    fetching = Fetching(consul.source, first.revision, colour)
    consul.until_waited_for()
    consul.set([instance("b")], index=3)
    assert weights(fetching.roster()) == {"b": 1.0}
    consul.asked.clear()
    fetching = Fetching(consul.source, first.revision + 1, colour)
    consul.until_waited_for()
    assert ["index=" in query for query in queries(consul)] == [False, True]
    assert "index=3&" in queries(consul)[1]
    consul.set([])
    assert weights(fetching.roster()) == {}


def test_an_index_of_zero_still_waits(consul: FakeConsul, colour: str) -> None:
    consul.set([instance("a")], index=0)
    first = Fetching(consul.source, None, colour).roster()
    fetching = Fetching(consul.source, first.revision, colour)
    consul.until_waited_for = lambda: None  # type: ignore[method-assign]  # 0 is not 1: it does not wait
    while len(consul.asked) < 2:
        pass
    assert "index=1&" in queries(consul)[1]
    consul.source.close()
    with pytest.raises(DiscoveryError):
        fetching.roster()


def test_an_index_that_is_no_number_is_taken_for_one(consul: FakeConsul) -> None:
    consul.index = "x"  # type: ignore[assignment]
    consul.instances = [instance("a")]
    assert weights(consul.source.fetch(None)) == {"a": 1.0}


def test_after_a_failure_the_first_query_does_not_wait(consul: FakeConsul, colour: str) -> None:
    """An agent that restarted counts anew, and might not reach the old index for hours."""
    consul.put({"a": 1.0})
    first = Fetching(consul.source, None, colour).roster()
    consul.down()
    with pytest.raises(DiscoveryError, match="500"):
        Fetching(consul.source, first.revision, colour).roster()
    consul.up()
    consul.set([instance("b")], index=2)
    assert weights(Fetching(consul.source, first.revision, colour).roster()) == {"b": 1.0}


def test_an_index_that_moves_for_others_is_no_new_roster(consul: FakeConsul, colour: str) -> None:
    consul.put({"a": 1.0})
    first = Fetching(consul.source, None, colour).roster()
    fetching = Fetching(consul.source, first.revision, colour)
    consul.until_waited_for()
    consul.put({"a": 1.0})
    consul.until_waited_for()
    assert fetching.waits
    consul.put({"a": 2.0})
    assert weights(fetching.roster()) == {"a": 2.0}


def test_another_agent_is_asked_when_one_does_not_answer_and_then_first(
    consul: FakeConsul, colour: str
) -> None:
    with FakeConsul() as other:
        other.put({"b": 1.0})
        consul.down()
        both = ConsulDiscovery("gpu", [consul.url, other.url])
        assert weights(Fetching(both, None, colour).roster()) == {"b": 1.0}
        Fetching(both, None, colour).roster()
        assert (len(consul.asked), len(other.asked)) == (1, 2)
        other.down()
        with pytest.raises(DiscoveryError) as told:
            Fetching(both, None, colour).roster()
        assert consul.url in str(told.value)
        assert other.url in str(told.value)


def test_an_index_of_one_agent_is_not_for_another(consul: FakeConsul, colour: str) -> None:
    with FakeConsul() as other:
        consul.put({"a": 1.0})
        other.put({"b": 1.0})
        both = ConsulDiscovery("gpu", [consul.url, other.url])
        first = Fetching(both, None, colour).roster()
        consul.down()
        assert weights(Fetching(both, first.revision, colour).roster()) == {"b": 1.0}
        assert "index" not in other.asked[0].path


def test_a_query_says_what_it_was_told_to(consul: FakeConsul) -> None:
    ConsulDiscovery(
        "gpu",
        consul.url,
        tags=["a", "b"],
        datacenter="dc2",
        namespace="team",
        partition="part",
        stale=True,
        cached=True,
    ).fetch(None)
    asked = queries(consul)[0].split("&")
    assert sorted(asked) == sorted(
        ["passing=1", "tag=a", "tag=b", "dc=dc2", "ns=team", "partition=part", "stale=1", "cached=1"]
    )
    ConsulDiscovery("gpu", consul.url, passing=False).fetch(None)
    assert queries(consul)[1] == ""


def test_a_token_is_read_anew_for_each_query(
    consul: FakeConsul, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of-another-program")
    consul.source.fetch(None)
    file = tmp_path / "token"
    file.write_text("canary-1\n")
    reader = ConsulDiscovery("gpu", consul.url, token_file=file)
    reader.fetch(None)
    file.write_text("canary-2\n")
    reader.fetch(None)
    monkeypatch.setenv("MY_TOKEN", "canary-3")
    ConsulDiscovery("gpu", consul.url, token_env="MY_TOKEN").fetch(None)
    sent = [request.headers.get("X-Consul-Token") for request in consul.asked]
    assert sent == [None, "canary-1", "canary-2", "canary-3"]
    file.unlink()
    with pytest.raises(DiscoveryError, match="cannot be read"):
        reader.fetch(None)
    monkeypatch.setenv("MY_TOKEN", "two\nlines")
    with pytest.raises(DiscoveryError, match="no text") as told:
        ConsulDiscovery("gpu", consul.url, token_env="MY_TOKEN").fetch(None)
    assert "two" not in str(told.value)


def test_a_refused_token_is_an_error_and_no_roster(consul: FakeConsul) -> None:
    consul.refuse = (403, "ACL not found")
    with pytest.raises(DiscoveryError, match="ACL not found"):
        consul.source.fetch(None)


def test_an_answer_that_acls_have_emptied_is_an_error(consul: FakeConsul) -> None:
    consul.headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
    with pytest.raises(DiscoveryError, match="token"):
        consul.source.fetch(None)
    consul.put({"a": 1.0})  # the token may read some of them
    assert weights(consul.source.fetch(None)) == {"a": 1.0}


def test_an_answer_that_is_no_list_is_an_error(consul: FakeConsul) -> None:
    nonsense: Any
    for nonsense in ({}, "text", None):
        consul.set(nonsense)
        with pytest.raises(DiscoveryError):
            consul.source.fetch(None)


def test_an_instance_without_an_id_of_its_own_is_named_by_its_node(consul: FakeConsul) -> None:
    """Consul's default id is the service's name, the same on every node."""
    consul.set([instance("gpu", Address="10.0.0.1"), instance("x")])
    assert set(weights(consul.source.fetch(None))) == {"gpu@n-gpu", "x"}


def test_an_instance_without_an_address_is_at_its_nodes(consul: FakeConsul) -> None:
    consul.set([instance("a", Address="")])
    (endpoint,) = consul.source.fetch(None).endpoints
    assert endpoint.url == "http://10.9.9.9:8000"


def test_consuls_own_weight_is_the_weight_where_the_metadata_has_none(consul: FakeConsul) -> None:
    weights_ = {"Passing": 3, "Warning": 1}
    warned = instance("c", Weights=weights_)
    warned["Checks"] = [{"Status": "warning"}]
    consul.set(
        [instance("a", Weights=weights_), instance("b", Weights=weights_, Meta={"weight": "7"}), warned]
    )
    assert weights(consul.source.fetch(None)) == {"a": 3.0, "b": 7.0, "c": 1.0}


def test_a_load_in_a_checks_output_is_the_load(consul: FakeConsul) -> None:
    told = instance("a")
    told["Checks"] = [{"Output": "fine"}, {"Output": '{"load":{"connections":4}}'}, {"Output": None}]
    odd = instance("b")
    odd["Checks"] = [{"Output": '{"load":{"connections":-4}}'}, {"Output": '{"load":'}]
    consul.set([told, odd])
    roster = consul.source.fetch(None)
    assert roster.loads["a"].connections == 4
    assert "b" not in roster.loads
    assert set(weights(roster)) == {"a", "b"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (instance("bad", Port=0), "port '0' is not in 1-65535"),
        (instance("bad", Port=70000), "port '70000' is not in 1-65535"),
        (instance("bad", Port="80"), "port '80' is not in 1-65535"),
        (instance("bad", Address="169.254.169.254"), "link-local"),
        (instance("bad", Address="fe80::1"), "link-local"),
        (instance("bad", Address="fd00:ec2::254"), "metadata service"),
        (instance("bad", Address="2852039166"), "unusual spelling"),
        (instance("bad", Address="user:canary@10.0.0.1"), "user or a password"),
        (instance("bad", Address="../etc"), "neither a host name nor"),
        (instance("bad", Meta={"url": "http://u:canary@10.0.0.1/"}), "user or a password"),
        (instance("bad", Meta={"url": "file:///etc/passwd"}), "not http://"),
        (instance("bad", Meta={"url": "http://169.254.169.254/"}), "link-local"),
        (instance("bad", Meta={"scheme": "javascript"}), "not http://"),
        (instance("bad", Meta={"weight": "much"}), "weight 'much' is not a number"),
        (instance("bad", Meta={"weight": "nan"}), "weight 'nan' is not a number"),
        (instance("bad", Meta={"priority": "1.5"}), "priority '1.5' is not an integer"),
        (instance("bad", Meta={"roles": "boss"}), "'boss' is not a valid Role"),
        (instance("bad", Meta={"price_input": "-1"}), "price_input '-1' is not a number"),
        (instance("bad", Meta={"context_window": "0"}), "context_window 0"),
        (instance("bad", Meta={"x": "y" * 10_000_000}), "larger than 64 KiB"),
        (instance("bad", Meta={"x": "a\x1b[2J"}), "control characters"),
        (instance("bad", Tags=["a\nb"]), "control characters"),
        (instance("bad", Meta=["x"]), "not understood"),
        (instance("bad", Meta={"x": 1}), "not all texts"),
        ({"Service": {"ID": "bad"}}, "not understood"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_instance_is_left_out_with_a_reason_and_the_others_stay(
    consul: FakeConsul, bad: Any, reason: str
) -> None:
    consul.set([bad, instance("good")])
    roster = consul.source.fetch(None)
    assert weights(roster) == {"good": 1.0}
    (rejected,) = roster.rejected
    assert reason in rejected.reason
    assert "canary" not in rejected.reason


def test_names_that_cannot_be_printed_are_told_all_the_same(consul: FakeConsul) -> None:
    consul.set([instance("a\x00b"), instance(""), instance("x" * 1000), instance("good")])
    roster = consul.source.fetch(None)
    assert weights(roster) == {"good": 1.0}
    assert len(roster.rejected) == 3
    assert all(rejected.id.isprintable() and len(rejected.id) <= 80 for rejected in roster.rejected)


def test_of_two_with_one_id_one_is_left_out(consul: FakeConsul) -> None:
    consul.set([instance("a"), instance("a", Address="10.0.0.2"), instance("b")])
    roster = consul.source.fetch(None)
    assert weights(roster) == {"a": 1.0, "b": 1.0}
    assert [rejected.reason for rejected in roster.rejected] == ["another one has its id"]


def test_keys_may_be_named_otherwise(consul: FakeConsul) -> None:
    consul.set([instance("a", Meta={"w": "4", "weight": "9"}, Tags=["z=eu", "gpu"])])
    named = ConsulDiscovery("gpu", consul.url, mapping={"weight": "w", "zone": "z"})
    (endpoint,) = named.fetch(None).endpoints
    assert (endpoint.weight, endpoint.zone, set(endpoint.tags)) == (4.0, "eu", {"gpu"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"service": ""},
        {"service": "a/b"},
        {"service": "a", "wait": 0},
        {"service": "a", "wait": 601},
        {"service": "a", "timeout": 0},
        {"service": "a", "address": []},
        {"service": "a", "mapping": {"wait": "w"}},
        {"service": "a", "token_env": "A", "token_file": "b"},
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_is_told_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ConsulDiscovery(**arguments)
