"""Limits per minute that processes share, through every face; the store is a real Valkey."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from langchain_cluster import (
    Capacity,
    ClusteredLLM,
    ConfigError,
    Endpoint,
    HedgePolicy,
    Overloaded,
    Policy,
    Quota,
)
from langchain_cluster.model.events import Event, SharingLost, SharingRestored
from langchain_cluster.sharing import SharedLimits
from langchain_cluster.testing import ScriptedModel
from tests.faces.faces import Face
from tests.services.valkey import Valkey

pytest.importorskip("redis")
SOON = Policy(timeout=5.0)


@pytest.fixture
def namespace() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def limits(valkey_url: str, namespace: str) -> Iterator[SharedLimits]:
    shared = SharedLimits.from_url(valkey_url, namespace=namespace, timeout=2.0)
    yield shared
    shared.close()


def one(limits: SharedLimits, model: ScriptedModel, **capacity: int) -> ClusteredLLM:
    return ClusteredLLM([Endpoint("a", model, capacity=Capacity(**capacity))], limits=limits, policy=SOON)


def test_two_clusters_have_one_minute(face: Face, limits: SharedLimits) -> None:
    model = ScriptedModel("fine")
    first, second = one(limits, model, max_rpm=3), one(limits, model, max_rpm=3)
    for llm in (first, second, first):
        assert face.ask(llm, "hello").content == "fine"
    for llm in (first, second):
        with pytest.raises(Overloaded) as caught:
            face.ask(llm, "hello")
        assert caught.value.retry_after is not None
        assert 50.0 < caught.value.retry_after <= 60.3
    assert model.calls == 3


def test_who_is_out_of_rate_elsewhere_is_passed_over(face: Face, limits: SharedLimits) -> None:
    other = one(limits, ScriptedModel("other"), max_rpm=1)
    face.ask(other, "hello")
    endpoints = [
        Endpoint("a", ScriptedModel("a"), capacity=Capacity(max_rpm=1), priority=0),
        Endpoint("b", ScriptedModel("b"), quota_group="g", priority=1),
    ]
    llm = ClusteredLLM(endpoints, quotas={"g": Quota(max_tpm=10_000)}, limits=limits, policy=SOON)
    assert face.ask(llm, "hello").content == "b"
    (member, _) = llm.cluster.pool
    assert member.in_flight == 0
    assert member.limits(llm.cluster.clock.now())["rpm_used"] == 0, "nobody was asked"


def test_tokens_that_were_not_used_are_there_for_others(face: Face, limits: SharedLimits) -> None:
    usage = UsageMetadata(input_tokens=5, output_tokens=5, total_tokens=10)
    model = ScriptedModel(AIMessage("fine", usage_metadata=usage))
    first, second = one(limits, model, max_tpm=1000), one(limits, model, max_tpm=1000)
    face.ask(first, "hello", max_tokens=900)
    limits.flush()
    assert face.ask(second, "hello", max_tokens=900).content == "fine"


def test_without_its_store_each_keeps_to_its_part_and_no_call_fails(face: Face, namespace: str) -> None:
    heard: list[Event] = []
    with Valkey() as server:
        limits = SharedLimits.from_url(server.url, namespace=namespace, timeout=1.0)
        neighbour = SharedLimits.from_url(server.url, namespace=namespace, timeout=2.0)
        neighbour.take((), 0)
        model = ScriptedModel("fine")
        llm = one(limits, model, max_rpm=6)
        llm.cluster.events.subscribe(heard.append)
        face.ask(llm, "hello")
        server.kill()
        for _ in range(2):
            assert face.ask(llm, "hello").content == "fine"
        with pytest.raises(Overloaded):
            face.ask(llm, "hello")  # three are half of six
        assert model.calls == 3
        server.start()
        limits.breaker.reset()
        llm.cluster.pool.add(Endpoint("b", model, capacity=Capacity(max_rpm=6)))
        assert face.ask(llm, "hello").content == "fine"
        llm.cluster.close()
        neighbour.close()
    kinds = [type(event) for event in heard if isinstance(event, SharingLost | SharingRestored)]
    assert kinds == [SharingLost, SharingRestored]


def test_endpoints_without_limits_do_not_ask(face: Face) -> None:
    limits = SharedLimits("redis://127.0.0.1:1/0", timeout=1.0)
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("fine"))], limits=limits)
    heard: list[Event] = []
    llm.cluster.events.subscribe(heard.append)
    assert face.ask(llm, "hello").content == "fine"
    assert not any(isinstance(event, SharingLost) for event in heard)


def test_a_second_attempt_counts_too(face: Face, limits: SharedLimits) -> None:
    slow, quick = ScriptedModel("slow", delay=0.3), ScriptedModel("quick")
    capacity = Capacity(max_rpm=1)
    endpoints = [
        Endpoint("slow", slow, capacity=capacity, priority=0),
        Endpoint("quick", quick, capacity=capacity, priority=1),
    ]
    policy = Policy(timeout=5.0, hedge=HedgePolicy(after=0.02))
    llm = ClusteredLLM(endpoints, limits=limits, policy=policy)
    assert face.ask(llm, "hello").content == "quick"
    with pytest.raises(Overloaded):
        face.ask(ClusteredLLM(endpoints, limits=limits, policy=policy), "hello")


def test_what_is_no_store_of_limits_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="LimitStore"):
        ClusteredLLM([Endpoint("a", ScriptedModel("fine"))], limits="redis")


def test_a_file_names_the_variable_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMITS_URL", "redis://127.0.0.1:1/0")
    config = {
        "endpoints": [{"id": "a", "model": "openai:m", "base_url": "http://10.0.0.1/v1"}],
        "limits": {"kind": "redis", "url_env": "LIMITS_URL", "namespace": "chat"},
    }
    llm = ClusteredLLM.from_config(config)
    assert repr(llm.cluster.limits) == "SharedLimits(namespace='chat')"
    for wrong in ({"url": "redis://x"}, {"url_env": "NOT_SET"}, {"url_env": "LIMITS_URL", "namespace": "{}"}):
        with pytest.raises(ConfigError) as caught:
            ClusteredLLM.from_config({**config, "limits": wrong})
        assert str(caught.value.key).startswith("limits")
    monkeypatch.setenv("LIMITS_URL", "nonsense")
    with pytest.raises(ConfigError) as caught:
        ClusteredLLM.from_config(config)
    assert caught.value.key == "limits.url_env"
