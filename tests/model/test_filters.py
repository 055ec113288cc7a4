"""Every condition a list of endpoints can be narrowed by, alone and combined."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import and_, or_
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus, Load, Role
from langchain_cluster.model.filters import CIRCUITS, Condition, EndpointFilter


@dataclass
class Listed:
    """A member as filters see it."""

    endpoint: Endpoint
    status: EndpointStatus = EndpointStatus.ONLINE
    load: Load | None = None
    in_flight: int = 0
    last_seen: float = 1000.0
    breaker_state: str = "closed"
    extra: dict[str, Any] = field(default_factory=dict)


MEMBER = Listed(
    Endpoint(
        "gpu-1",
        weight=2.0,
        zone="eu",
        tier="fast",
        roles={"llm", "embedding"},
        tags={"a100", "prod"},
        metadata={"model": "llama", "rack": "7"},
        capacity=Capacity(max_connections=10),
    ),
    status=EndpointStatus.BUSY,
    load=Load(cpu_percent=50.0),
    in_flight=7,
    last_seen=990.0,
    breaker_state="open",
)
NOW = 1000.0

CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "ids": ([{"gpu-1"}, ["gpu-1", "x"], "gpu-1"], [{"gpu-2"}, set(), "gpu"]),
    "name": (["gpu-*", "gpu-1", "*", "gpu-[12]"], ["cpu-*", "GPU-*", "gpu"]),
    "status": ([EndpointStatus.BUSY, "busy"], [EndpointStatus.ONLINE]),
    "roles": ([{Role.LLM}, {"embedding", "cache"}, "llm"], [{Role.CACHE}, set()]),
    "tags_any": ([{"a100", "x"}, "prod"], [{"x"}, set()]),
    "tags_all": ([{"a100", "prod"}, {"prod"}, set()], [{"prod", "x"}]),
    "metadata": ([{"model": "llama"}, {"model": "llama", "rack": "7"}, {}], [{"model": "qwen"}, {"no": "7"}]),
    "zone": (["eu"], ["us"]),
    "tier": (["fast"], ["default"]),
    "model": (["llama"], ["qwen"]),
    "min_weight": ([2.0, 0], [2.1]),
    "capacity_left": ([3, 0], [4]),
    "cpu_below": ([50.1, 100], [50.0, 0]),
    "seen_within": ([10.0, 60], [9.9, 0]),
    "breaker_state": (["open"], ["closed"]),
}


def test_there_is_a_case_for_every_condition() -> None:
    assert set(CASES) == {spec.name for spec in fields(EndpointFilter)}


@pytest.mark.parametrize("name", CASES)
def test_a_condition_holds_where_it_should_and_only_there(name: str) -> None:
    holds, fails = CASES[name]
    for value in holds:
        assert EndpointFilter(**{name: value}).matches(MEMBER, NOW), value
    for value in fails:
        assert not EndpointFilter(**{name: value}).matches(MEMBER, NOW), value


def test_a_filter_without_conditions_takes_everybody() -> None:
    assert EndpointFilter().matches(MEMBER, NOW)


def test_all_conditions_of_one_filter_must_hold() -> None:
    assert EndpointFilter(zone="eu", tier="fast").matches(MEMBER, NOW)
    assert not EndpointFilter(zone="eu", tier="slow").matches(MEMBER, NOW)
    assert not EndpointFilter(zone="us", tier="fast").matches(MEMBER, NOW)


def test_who_reports_no_load_is_not_known_to_be_cool() -> None:
    assert not EndpointFilter(cpu_below=100).matches(Listed(Endpoint("a")), NOW)
    assert not EndpointFilter(cpu_below=100).matches(Listed(Endpoint("a"), load=Load(qps=1)), NOW)


def test_who_has_no_bound_always_has_room() -> None:
    assert EndpointFilter(capacity_left=10**9).matches(Listed(Endpoint("a"), in_flight=10**6), NOW)


def test_filters_combine() -> None:
    eu, us, fast = EndpointFilter(zone="eu"), EndpointFilter(zone="us"), EndpointFilter(tier="fast")
    for condition, holds in [
        (eu & fast, True),
        (us & fast, False),
        (eu & us, False),
        (us | fast, True),
        (us | us, False),
        (~us, True),
        (~eu, False),
        (~~eu, True),
        (~(us | fast), False),
        (~us & (us | eu) & fast, True),
    ]:
        assert condition.matches(MEMBER, NOW) is holds


def test_filters_are_values() -> None:
    assert EndpointFilter(ids=["a", "b"]) == EndpointFilter(ids={"b", "a"})
    assert hash(EndpointFilter(ids=["a"], metadata={"k": "v"})) == hash(
        EndpointFilter(ids={"a"}, metadata={"k": "v"})
    )
    assert EndpointFilter(zone="a") & EndpointFilter(tier="b") == EndpointFilter(zone="a") & EndpointFilter(
        tier="b"
    )


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        EndpointFilter(colour="red")  # type: ignore[call-arg]


def test_a_condition_of_ones_own_combines_too() -> None:
    class Idle(Condition):
        def matches(self, member: Any, now: float) -> bool:
            return member.in_flight == 0

    assert (~Idle() & EndpointFilter(zone="eu")).matches(MEMBER, NOW)
    with pytest.raises(NotImplementedError):
        Condition().matches(MEMBER, NOW)


simple = st.builds(
    EndpointFilter,
    zone=st.sampled_from([None, "eu", "us"]),
    tier=st.sampled_from([None, "fast", "slow"]),
    min_weight=st.one_of(st.none(), st.floats(0, 4)),
)
conditions = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=8,
)


@given(conditions, conditions)
def test_the_laws_of_de_morgan_hold(a: Condition, b: Condition) -> None:
    assert (~(a & b)).matches(MEMBER, NOW) == (~a | ~b).matches(MEMBER, NOW)
    assert (~(a | b)).matches(MEMBER, NOW) == (~a & ~b).matches(MEMBER, NOW)
    assert (a & b).matches(MEMBER, NOW) == (a.matches(MEMBER, NOW) and b.matches(MEMBER, NOW))
    assert (a | b).matches(MEMBER, NOW) == (a.matches(MEMBER, NOW) or b.matches(MEMBER, NOW))
    assert (~a).matches(MEMBER, NOW) != a.matches(MEMBER, NOW)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"status": "asleep"}, "unknown status 'asleep': expected one of online, offline, busy, draining"),
        ({"roles": {"lmm"}}, "unknown role 'lmm': .*did you mean 'llm'"),
        ({"breaker_state": "CLOSED"}, "unknown breaker_state 'CLOSED': expected one of closed, open, "),
        ({"ids": 5}, "ids 5 is not a list of texts"),
        ({"tags_any": [1]}, "tags_any: 1 is not a text"),
        ({"name": 5}, "name 5 is not a text"),
        ({"zone": ["eu", "us"]}, r"zone \['eu', 'us'\] is not a text"),
        ({"min_weight": "2"}, "min_weight '2' is not a number"),
        ({"capacity_left": True}, "capacity_left True is not a number"),
        ({"cpu_below": float("nan")}, "cpu_below nan is not a number"),
        ({"metadata": ["rack"]}, r"metadata \['rack'\] is not a mapping"),
    ],
)
def test_a_condition_that_nobody_can_meet_is_refused_when_it_is_made(
    condition: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=f"EndpointFilter: {told}"):
        EndpointFilter(**condition)


def test_circuits_are_those_that_breakers_have() -> None:
    assert list(CIRCUITS) == [state.value for state in BreakerState]
    for state in BreakerState:
        assert EndpointFilter(breaker_state=state) == EndpointFilter(breaker_state=state.value)


@pytest.mark.parametrize("other", ["gpu-*", None, 5])
def test_conditions_combine_with_conditions_alone(other: Any) -> None:
    for combine in (and_, or_):
        with pytest.raises(TypeError, match="unsupported operand"):
            combine(EndpointFilter(), other)
