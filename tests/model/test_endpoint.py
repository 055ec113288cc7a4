"""What a user may write as an endpoint, and what is refused, with the place and what would be valid."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError
from inspect import Parameter, signature
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus, Load, Price, Role, Roster

NAN, INF = float("nan"), float("inf")


def test_an_endpoint_needs_only_an_id() -> None:
    endpoint = Endpoint("a")
    assert (endpoint.id, endpoint.model, endpoint.url, endpoint.weight) == ("a", None, None, 1.0)
    assert (endpoint.zone, endpoint.tier, endpoint.priority) == (None, "default", 0)
    assert endpoint.roles == {Role.LLM}
    assert endpoint.tags == frozenset()
    assert endpoint.metadata == {}
    assert endpoint.capacity == Capacity()
    assert endpoint.capabilities is None


@pytest.mark.parametrize("id", ["", "  ", None, 7, b"a"])
def test_an_id_is_a_text_that_is_not_empty(id: Any) -> None:
    with pytest.raises(ConfigError, match="id is a text that is not empty") as caught:
        Endpoint(id)
    assert caught.value.key == "endpoint.id"


@pytest.mark.parametrize("weight", [-1, -0.001, NAN, INF, -INF, "2", None, True, 1j])
def test_a_weight_is_a_finite_number_that_is_not_negative(weight: Any) -> None:
    with pytest.raises(ConfigError, match="is not a finite number >= 0") as caught:
        Endpoint("a", weight=weight)
    assert caught.value.key == "endpoint 'a'"


@pytest.mark.parametrize("weight", [0, 0.0, 1, 2.5, 1e9])
def test_a_weight_is_kept_as_a_float(weight: float) -> None:
    kept = Endpoint("a", weight=weight).weight
    assert kept == weight
    assert isinstance(kept, float)


@pytest.mark.parametrize("priority", [-1, 1.0, "1", None, True])
def test_a_priority_is_an_integer_that_is_not_negative(priority: Any) -> None:
    with pytest.raises(ConfigError, match=r"priority .* is not an integer >= 0"):
        Endpoint("a", priority=priority)


@pytest.mark.parametrize("window", [0, -1, 4096.0, "4096", True])
def test_a_context_window_is_a_number_of_tokens(window: Any) -> None:
    with pytest.raises(ConfigError, match=r"context_window .* is not an integer > 0 \(tokens\)"):
        Endpoint("a", context_window=window)
    assert Endpoint("a", context_window=1).context_window == 1


@pytest.mark.parametrize("name", ["url", "zone", "quota_group", "identity", "tier"])
def test_labels_are_texts(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} 7 is not a text"):
        Endpoint("a", **{name: 7})


def test_a_tier_is_always_there() -> None:
    with pytest.raises(ConfigError, match="tier None is not a text"):
        Endpoint("a", tier=None)


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("capacity", 5, "capacity 5 is not a Capacity"),
        ("price", 0.5, "price 0.5 is not a Price"),
        ("metadata", [("a", "b")], "is not a mapping"),
        ("tags", 5, "tags 5 is not a list of texts"),
        ("tags", ["a", 5], "tags: 5 is not a text"),
        ("roles", 5, "roles 5 is not a list of texts"),
        ("roles", [5], "roles: 5 is not a text"),
        ("capabilities", 5, "capabilities 5 is not a list of texts"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place(name: str, given: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        Endpoint("gpu-1", **{name: given})
    assert str(caught.value).startswith("endpoint 'gpu-1': ")


def test_an_unknown_role_is_told_the_valid_ones_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint("a", roles={"embeding"})
    assert str(caught.value) == (
        "endpoint 'a': unknown role 'embeding': expected one of llm, embedding, retrieval, cache;"
        " did you mean 'embedding'?"
    )


def test_one_label_is_not_taken_for_its_letters() -> None:
    endpoint = Endpoint("a", roles="embedding", tags="fast", capabilities="tools")
    assert endpoint.roles == {Role.EMBEDDING}
    assert endpoint.tags == {"fast"}
    assert endpoint.capabilities == {"tools"}


def test_roles_may_be_written_as_text() -> None:
    assert Endpoint("a", roles=["llm", Role.CACHE]).roles == {Role.LLM, Role.CACHE}


def test_nothing_that_is_handed_in_can_change_it_later() -> None:
    metadata, tags = {"model": "m"}, {"x"}
    endpoint = Endpoint("a", metadata=metadata, tags=tags)
    metadata["model"] = "other"
    tags.add("y")
    assert endpoint.metadata == {"model": "m"}
    assert endpoint.tags == {"x"}
    assert isinstance(endpoint.metadata, MappingProxyType)
    with pytest.raises(AttributeError):
        endpoint.weight = 2.0  # type: ignore[misc]


def test_userinfo_never_shows_in_a_repr() -> None:
    shown = repr(Endpoint("a", url="https://me:secret@host:8000/v1"))
    assert shown == "Endpoint('a', url='https://***@host:8000/v1')"


def test_a_repr_shows_what_is_not_the_default() -> None:
    assert repr(Endpoint("a")) == "Endpoint('a')"
    assert (
        repr(Endpoint("a", weight=2, zone="eu", tier="fast"))
        == "Endpoint('a', weight=2, zone='eu', tier='fast')"
    )


def test_endpoints_are_equal_when_all_of_them_is_and_the_model_is_the_same_object() -> None:
    model, twin = [], []
    assert Endpoint("a", model) == Endpoint("a", model)
    assert Endpoint("a", model) != Endpoint("a", twin)
    assert Endpoint("a") != Endpoint("b")
    assert Endpoint("a") != Endpoint("a", weight=2)
    assert Endpoint("a") != Endpoint("a", metadata={"k": "v"})
    assert Endpoint("a") != "a"
    assert hash(Endpoint("a", model)) == hash(Endpoint("a", model))
    assert len({Endpoint("a"), Endpoint("a"), Endpoint("b")}) == 2


def test_the_same_place_is_the_same_url_and_the_same_model() -> None:
    model = object()
    here = Endpoint("a", model, url="http://h")
    assert here.same_place(Endpoint("a", model, url="http://h", weight=9, zone="z"))
    assert not here.same_place(Endpoint("a", model, url="http://other"))
    assert not here.same_place(Endpoint("a", object(), url="http://h"))


@pytest.mark.parametrize("bad", [-1, NAN, INF, "5", True])
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (lambda x: Capacity(max_rpm=x), "capacity.max_rpm"),
        (lambda x: Load(cpu_percent=x), "load.cpu_percent"),
        (lambda x: Price(output=x), "price.output"),
    ],
)
def test_nonsense_numbers_are_refused_with_their_place(kind: Any, where: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match="is not a finite number >= 0") as caught:
        kind(bad)
    assert caught.value.key == where


def test_numbers_may_be_left_out_or_be_nought() -> None:
    assert Capacity(max_connections=0).max_connections == 0
    assert Load(qps=0.0, cpu_percent=None).cpu_percent is None
    assert Price(cached_input=None).cached_input is None


def test_all_but_the_id_and_the_model_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        Endpoint("a", None, "http://h")  # type: ignore[misc]
    for name in (
        "weight",
        "zone",
        "tier",
        "roles",
        "tags",
        "metadata",
        "capacity",
        "price",
        "priority",
        "quota_group",
        "identity",
        "context_window",
        "capabilities",
        "url",
    ):
        assert signature(Endpoint).parameters[name].kind is Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("value", [Capacity(), Load(), Price(), Endpoint("a"), Roster(())])
def test_values_cannot_be_changed(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, next(iter(signature(type(value)).parameters)), 5)
    assert not hasattr(value, "__dict__")


def test_nothing_costs_anything_unless_it_is_said() -> None:
    assert (Price().input, Price().output, Price().cached_input) == (0.0, 0.0, None)


def test_statuses_and_roles_are_the_promised_ones() -> None:
    assert [status.value for status in EndpointStatus] == ["online", "offline", "busy", "draining"]
    assert [role.value for role in Role] == ["llm", "embedding", "retrieval", "cache"]


def test_a_roster_is_a_value() -> None:
    assert Roster((Endpoint("a"),)) == Roster((Endpoint("a"),), 0)
    assert Roster((Endpoint("a"),), 1) != Roster((Endpoint("a"),), 2)


@given(
    st.text(min_size=1).filter(str.strip),
    st.floats(0, 1e12),
    st.frozensets(st.text()),
    st.dictionaries(st.text(), st.text()),
)
def test_whatever_is_valid_is_kept(
    id: str, weight: float, tags: frozenset[str], metadata: dict[str, str]
) -> None:
    endpoint = Endpoint(id, weight=weight, tags=tags, metadata=metadata)
    assert (endpoint.id, endpoint.weight, endpoint.tags) == (id, weight, tags)
    assert dict(endpoint.metadata) == metadata
    assert copy.copy(endpoint) == endpoint
    assert repr(id) in repr(endpoint)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_any_weight_is_taken_or_refused_with_one_kind_of_error(weight: Any) -> None:
    try:
        kept = Endpoint("a", weight=weight).weight
    except ConfigError:
        return
    assert 0 <= kept < INF


def test_what_follows_an_address_is_not_shown() -> None:
    endpoint = Endpoint("a", url="http://u:hush@host/v1?key=hush#hush")
    assert repr(endpoint) == "Endpoint('a', url='http://***@host/v1?***')"
