"""From a discovered endpoint to a chat model, and who gets a credential."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, EndpointFactory, Role, StaticDiscovery
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.deferred import Deferred
from langchain_cluster.model.endpoint import Rejected
from langchain_cluster.model.events import EndpointRejected
from langchain_cluster.testing import SimulatedServer

URL = "http://{address}:{port}/v1"
SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", SECRET)


def found(id: str = "a", **meta: str) -> Endpoint:
    return Endpoint(id, metadata={"address": "10.0.0.1", "port": "8000", "model": "llama", **meta})


def made(factory: EndpointFactory, endpoint: Endpoint) -> Endpoint:
    attached = factory.attach(endpoint)
    assert isinstance(attached, Endpoint), attached
    return attached


def refused(factory: EndpointFactory, endpoint: Endpoint) -> str:
    attached = factory.attach(endpoint)
    assert isinstance(attached, Rejected), attached
    return attached.reason


def guarded(**options: Any) -> EndpointFactory:
    return EndpointFactory("openai:{model}", URL, "GPU_KEY", ["10.0.0.0/8", "*.internal"], **options)


def test_templates_are_filled_from_what_is_known() -> None:
    pytest.importorskip("langchain_openai")
    endpoint = made(guarded(params={"temperature": 0.5}), found())
    assert endpoint.url == "http://10.0.0.1:8000/v1"
    assert repr(endpoint.model) == "<Deferred openai:llama, not made yet>"
    model = endpoint.model.made()
    assert type(model).__name__ == "ChatOpenAI"
    assert (model.model_name, model.openai_api_base) == ("llama", "http://10.0.0.1:8000/v1")
    assert (model.temperature, model.openai_api_key.get_secret_value()) == (0.5, SECRET)
    assert endpoint.model.made() is model
    assert repr(endpoint.model) == "<Deferred openai:llama, made>"


def test_its_own_url_is_used_where_there_is_no_template() -> None:
    endpoint = Endpoint("a", url="http://10.0.0.2:9000/v1", metadata={"model": "m"})
    assert made(EndpointFactory(), endpoint).url == "http://10.0.0.2:9000/v1"
    assert made(EndpointFactory(base_url=URL), endpoint).url == "http://10.0.0.2:9000/v1"
    assert refused(EndpointFactory(), found()) == "it has no url, and there is no template for one"


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert made(EndpointFactory(base_url=URL), found(address="fd00::1")).url == "http://[fd00::1]:8000/v1"


def test_nothing_is_made_by_looking_at_it() -> None:
    factory = guarded(params={"temperature": 0.5})
    with ClusteredLLM(discovery=StaticDiscovery([found()]), factory=factory).cluster as cluster:
        (endpoint,) = (member.endpoint for member in cluster.pool)
        assert cluster.model_name == "llama"  # as LangChain asks, for every run
    assert endpoint.model.temperature == 0.5
    assert "not made" in repr(endpoint.model)


def test_the_same_description_has_the_same_model() -> None:
    factory = guarded()
    one = made(factory, found())
    assert made(factory, found(zone="b")).model is one.model
    assert made(factory, found(model="other")).model is not one.model
    assert made(factory, found(id="b")).model is not one.model
    factory.release(one)
    assert made(factory, found()).model is not one.model
    assert repr(factory).startswith("<EndpointFactory openai:{model}, 3 models, AllowList(")


def test_embeddings_are_made_for_who_embeds() -> None:
    pytest.importorskip("langchain_openai")
    endpoint = Endpoint(
        "a", url="http://10.0.0.1:8000/v1", roles=frozenset({Role.EMBEDDING}), metadata={"model": "e"}
    )
    assert type(made(EndpointFactory(), endpoint).model.made()).__name__ == "OpenAIEmbeddings"


BIG = "x" * 10_000_000
POISON = [
    (found(address="169.254.169.254"), "link-local"),
    (found(address="metadata.google.internal"), "metadata service"),
    (found(address="evil.com"), "not among those that are allowed"),
    (found(address="10.0.0.1@evil.com"), "its address is no part of a host"),
    (found(address="10.0.0.1/x?"), "its address is no part of a host"),
    (found(port="1@evil.com:80"), "its port is no part of a host"),
    (found(port="0"), "its port '0' is not in 1-65535"),
    (found(port="70000"), "its url is none"),
    (Endpoint("a", url="file:///etc/passwd", metadata={"model": "m"}), "not http:// or https://"),
    (Endpoint("a", url="http://u:p@10.0.0.1", metadata={"model": "m"}), "a user or a password"),
    (Endpoint("a", url="http://evil.com", metadata=dict(found().metadata)), "not among those"),
    (found(note=BIG), "larger than 64 KiB"),
    (found(note="a\nb"), "control characters"),
    (found(id="a\x1b[2J"), "control characters"),
    (found(id="a" * 300), "longer than 256"),
    (found(model=""), "its metadata has no 'model'"),
    (
        Endpoint("a", url="http://10.0.0.1", metadata={"model": "m"}, roles=frozenset({Role.RETRIEVAL})),
        "retriever",
    ),
]


@pytest.mark.parametrize(("endpoint", "reason"), POISON, ids=[reason for _, reason in POISON])
def test_a_poisoned_entry_gets_nothing(endpoint: Endpoint, reason: str) -> None:
    factory = guarded()
    assert reason in refused(factory, endpoint)
    assert "0 models" in repr(factory)


def test_a_poisoned_entry_costs_the_others_nothing_and_is_told() -> None:
    pytest.importorskip("langchain_openai")
    with SimulatedServer() as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        factory = EndpointFactory("openai:{model}", URL, "GPU_KEY", ["127.0.0.0/8"])
        bad = [Endpoint(f"bad-{n}", url=e.url, metadata=e.metadata) for n, (e, _) in enumerate(POISON[:13])]
        good = found("good", address=host, port=port)
        events: list[Any] = []
        llm = ClusteredLLM(discovery=StaticDiscovery([*bad, good, found("good")]), factory=factory)
        llm.cluster.events.subscribe(events.append)
        assert "hello" in str(llm.invoke("hello").content)
        assert [member.endpoint.id for member in llm.cluster.pool] == ["good"]
        told = [event.endpoint for event in events if isinstance(event, EndpointRejected)]
        assert sorted(told) == sorted([each.id for each in bad] + ["good"])
        assert SECRET not in repr(events) + repr(factory) + repr(llm.cluster.pool)
        llm.cluster.close()
        assert "1 models" in repr(factory)


async def test_a_model_that_cannot_be_made_is_the_endpoints_failure() -> None:
    pytest.importorskip("langchain_openai")
    factory = EndpointFactory("openai:m", "http://10.0.0.1/v1", params={"temprature": 1})
    llm = ClusteredLLM(discovery=StaticDiscovery([Endpoint("a")]), factory=factory, max_retries=0)
    with pytest.raises(ConfigError, match="did you mean 'temperature'"):
        await llm.ainvoke("hello")
    await llm.cluster.aclose()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"api_key_env": "GPU_KEY"}, "factory.allow: a credential is only given to hosts that are named"),
        ({"params": {"default_headers": {"x_env": "GPU_KEY"}}}, "factory.allow: a credential"),
        ({"api_key_env": "NOT_SET", "allow": ["*"]}, "factory.api_key_env: .*NOT_SET is not set"),
        ({"model": "{model}"}, "is not provider:model-name"),
        ({"model": "{provider}:{model}"}, "is not provider:model-name"),
        ({"model": "openai:{model"}, "is no template: holes are written"),
        ({"base_url": "http://{a.b!r}"}, "is no template"),
        ({"params": {"max_retries": 3}}, "retries are the cluster's"),
        ({"params": {"api_key": "sk"}}, "a secret does not belong in a config"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        EndpointFactory(**arguments)


def test_a_factory_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="factory: str is no EndpointFactory"):
        ClusteredLLM(discovery=StaticDiscovery([]), factory="openai:m")


def test_a_place_for_a_model_has_what_the_model_has() -> None:
    place = Deferred(lambda: [1, 2], "p", {"model_name": "m"})
    assert not hasattr(place, "profile")
    assert place.count(1) == 1
    with pytest.raises(AttributeError):
        place._private  # noqa: B018
