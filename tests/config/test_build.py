from importlib.metadata import EntryPoint
from typing import Any

import pytest
from tenacity import (
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    wait_exponential,
    wait_fixed,
    wait_none,
    wait_random,
    wait_random_exponential,
)

from langchain_cluster import kinds
from langchain_cluster.balancer import PeakEwma, RoundRobin
from langchain_cluster.cluster import Cluster
from langchain_cluster.config import cluster_arguments, load
from langchain_cluster.config import models as making
from langchain_cluster.errors import ConfigError
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model.endpoint import Capacity, Price, Role
from langchain_cluster.model.policy import BreakerPolicy, Policy

KEY = "sk-very-secret"


def built(**own: Any) -> Any:
    """The one endpoint of a config."""
    (endpoint,) = cluster_arguments(load({"endpoints": [{"id": "a", "model": "scripted:fox", **own}]}))[
        "endpoints"
    ]
    return endpoint


def refused(**own: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        built(**own)
    assert "endpoint 'a'" in str(caught.value)
    assert KEY not in str(caught.value)
    return caught.value


def arguments(**given: Any) -> dict[str, Any]:
    return cluster_arguments(load({"endpoints": [{"id": "a", "model": "scripted:x"}], **given}))


def test_an_endpoint_says_everything_the_config_says() -> None:
    endpoint = built(
        base_url="http://gpu-1:8000/v1",
        weight=2,
        zone="eu",
        tier="large",
        roles=["llm", "embedding"],
        tags="fast",
        metadata={"rack": "7"},
        capacity={"max_rpm": 60},
        price={"input": 0.15, "output": 0.6},
        priority=1,
        quota_group="q",
        identity="i",
        context_window=8192,
        capabilities=["tools"],
    )
    assert (endpoint.id, endpoint.url, endpoint.weight, endpoint.zone) == (
        "a",
        "http://gpu-1:8000/v1",
        2.0,
        "eu",
    )
    assert (endpoint.tier, endpoint.roles, endpoint.tags) == ("large", {Role.LLM, Role.EMBEDDING}, {"fast"})
    assert dict(endpoint.metadata) == {"rack": "7"}
    assert (endpoint.capacity, endpoint.price) == (Capacity(max_rpm=60), Price(0.15, 0.6))
    assert (endpoint.priority, endpoint.quota_group, endpoint.identity) == (1, "q", "i")
    assert (endpoint.context_window, endpoint.capabilities) == (8192, {"tools"})


def test_what_is_not_said_is_the_default_of_the_cluster() -> None:
    given = arguments()
    assert given["policy"].model_fields_set == set()
    assert given["breaker"] == BreakerPolicy()
    assert given["cache"] is None
    assert given["agents"] == {}
    assert given["drain_timeout"] == 10.0
    assert isinstance(given["balancer"], PeakEwma)
    cluster = Cluster(**given)
    assert cluster.drain_timeout == 10.0


def test_balancer_cache_breaker_and_agents_are_handed_on() -> None:
    given = arguments(
        balancer={"kind": "peak_ewma", "decay": 3},
        cache={"max_entries": None, "max_bytes": 1000, "policy": "lru", "ttl": "2m"},
        breaker={"open_for": "1s"},
        policy={"attempts": 7},
        agents={"planner": {"timeout": "5s"}},
        drain_timeout="1m",
    )
    assert given["balancer"].decay == 3
    cache = given["cache"]
    assert (cache.max_entries, cache.max_bytes, cache.policy, cache.ttl) == (None, 1000, "lru", 120.0)
    assert given["breaker"] == BreakerPolicy(open_for=1.0)
    assert given["agents"]["planner"].model_fields_set == {"attempts", "timeout"}
    assert (given["agents"]["planner"].attempts, given["agents"]["planner"].timeout) == (7, 5.0)
    assert given["drain_timeout"] == 60.0
    assert isinstance(arguments(balancer="round_robin")["balancer"], RoundRobin)


def test_each_build_has_a_balancer_and_a_cache_of_its_own() -> None:
    config = load({"endpoints": [{"id": "a", "model": "scripted:x"}], "cache": "memory"})
    one, other = cluster_arguments(config), cluster_arguments(config)
    assert one["cache"] is not other["cache"]
    assert one["balancer"] is not other["balancer"]


WAITS = [
    (None, wait_none()),
    ({"kind": "fixed", "seconds": "250ms"}, wait_fixed(0.25)),
    ({"kind": "random", "min": 1, "max": 3}, wait_random(1, 3)),
    ({"kind": "exponential", "multiplier": 2, "base": 3, "min": 1, "max": 20}, wait_exponential(2, 20, 3, 1)),
    ({"kind": "random_exponential"}, wait_random_exponential(0.25, 10)),
]


@pytest.mark.parametrize(("written", "strategy"), WAITS)
def test_a_wait_becomes_a_tenacity_strategy(written: Any, strategy: Any) -> None:
    wait = arguments(policy={"wait": written})["policy"].wait
    assert type(wait) is type(strategy)
    assert vars(wait) == vars(strategy)


def test_the_default_wait_of_a_config_is_the_policys() -> None:
    ours, theirs = arguments(policy={"wait": {"kind": "random_exponential"}})["policy"].wait, Policy().wait
    assert vars(ours) == vars(theirs)


def test_a_balancer_of_another_package_is_found_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", "langchain_cluster.balancer:PeakEwma", "langchain_cluster.balancers"),
        EntryPoint("broken", "no_such_package:Thing", "langchain_cluster.balancers"),
        EntryPoint("picky", "builtins:complex", "langchain_cluster.balancers"),
        EntryPoint("odd", "builtins:dict", "langchain_cluster.balancers"),
    ]
    monkeypatch.setattr(kinds, "entry_points", lambda group: points)
    assert arguments(balancer={"kind": "mine", "decay": 3})["balancer"].decay == 3
    with pytest.raises(ConfigError, match=r"balancer.kind: broken .no_such_package:Thing. cannot be loaded"):
        arguments(balancer="broken")
    with pytest.raises(ConfigError, match=r"expected one of .*mine.*did you mean 'mine'"):
        arguments(balancer="mien")
    with pytest.raises(ConfigError, match=r"balancer: picky cannot be made with these options: .*NoneType"):
        arguments(balancer={"kind": "picky", "real": None})
    assert arguments(balancer={"kind": "odd", "anything": 1})["balancer"] == {"anything": 1}


def test_a_script_answers_without_a_server() -> None:
    llm = ClusteredLLM.from_config(
        {"endpoints": [{"id": "a", "model": "scripted:fox", "params": {"script": ["one", "two"]}}]}
    )
    assert [llm.invoke("?").content for _ in range(3)] == ["one", "two", "two"]
    assert built().model.invoke("?").content == "fox, as a"
    assert refused(params={"script": "one"}).key == "endpoints.0.params.script"
    assert "did you mean 'delay'?" in str(refused(params={"delai": 1}))


def test_a_variable_that_is_not_set_is_named_with_the_file(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("endpoints: [{id: a, model: 'anything:m', api_key_env: GPU_KEY}]")
    monkeypatch.delenv("GPU_KEY", raising=False)
    with pytest.raises(ConfigError) as caught:
        cluster_arguments(load(path))
    assert str(caught.value) == (
        f"{path}: endpoints.0.api_key_env: the environment variable GPU_KEY is not set (endpoint 'a')"
    )
    monkeypatch.setenv("GPU_KEY", "")
    assert "GPU_KEY is empty" in str(refused(model="anything:m", api_key_env="GPU_KEY"))


def test_a_missing_library_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(module: str, **_: Any) -> Any:
        raise ImportError(f"no {module}: pip install it")

    monkeypatch.setattr(making, "need", nothing)
    monkeypatch.setattr(making, "import_module", nothing)
    assert "no langchain_openai: pip install it" in str(refused(model="openai:m"))
    assert "pip install langchain-anthropic" in str(refused(model="anthropic:m"))
    unknown = refused(model="opnai:m")
    assert unknown.key == "endpoints.0.model"
    assert unknown.valid == ("openai", "anthropic", "scripted")
    assert "did you mean 'openai'?" in str(unknown)
    assert 'pip install "langchain-cluster[agents]"' in str(unknown)


def test_an_openai_server_of_ones_own_is_not_sent_the_key_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = built(model="openai:m", url="http://gpu-1:8000/v1", params={"temperature": 0.2}).model
    assert (model.model_name, model.openai_api_base, model.temperature) == ("m", "http://gpu-1:8000/v1", 0.2)
    assert model.openai_api_key.get_secret_value() == "-"
    assert built(model="openai:m").model.openai_api_key.get_secret_value() == KEY


def test_a_key_comes_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("GPU_KEY", KEY)
    monkeypatch.setenv("GPU_HEADER", "Bearer 7")
    endpoint = built(
        model="openai:m",
        url="http://gpu-1:8000/v1",
        api_key_env="GPU_KEY",
        params={
            "default_headers": {"X-Rack": "7", "Authorization_env": "GPU_HEADER"},
            "extra_body": {"a": ["x", {"b_env": "GPU_KEY"}]},
        },
    )
    assert endpoint.model.openai_api_key.get_secret_value() == KEY
    assert endpoint.model.default_headers == {"X-Rack": "7", "Authorization": "Bearer 7"}
    assert endpoint.model.extra_body == {"a": ["x", {"b": KEY}]}


def test_what_a_model_refuses_is_told_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("GPU_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    given = {"model": "openai:m", "url": "http://a/v1", "api_key_env": "GPU_KEY"}
    wrong = refused(**given, params={"temperature": "hot"})
    assert wrong.key == "endpoints.0.params.temperature"
    assert "should be a valid number" in str(wrong)
    misspelt = refused(**given, params={"temprature": 0.2})
    assert misspelt.key == "endpoints.0.params.temprature"
    assert "did you mean 'temperature'?" in str(misspelt)
    assert "extra_body" in str(misspelt)
    assert "OPENAI_API_KEY" in str(refused(model="openai:m"))


def test_anthropic_and_the_providers_of_langchain_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_anthropic")
    pytest.importorskip("langchain")
    monkeypatch.setenv("GPU_KEY", KEY)
    model = built(model="anthropic:claude", url="http://gpu-1:8000", api_key_env="GPU_KEY").model
    assert (model.model, model.anthropic_api_url) == ("claude", "http://gpu-1:8000")
    assert model.anthropic_api_key.get_secret_value() == KEY
    assert "did you mean 'groq'?" in str(refused(model="grok:m"))
    monkeypatch.setattr(
        "langchain.chat_models.init_chat_model",
        lambda **given: built().model.model_copy(update={"metadata": given}),
    )
    made = built(model="groq:llama:8b", params={"temperature": 0.5}).model
    assert made.metadata == {"model": "llama:8b", "model_provider": "groq", "temperature": 0.5}


def test_a_providers_own_complaint_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain")

    def broken(**_: Any) -> Any:
        raise ImportError("\nNo groq here.\nInstall it.")

    monkeypatch.setattr("langchain.chat_models.init_chat_model", broken)
    assert str(refused(model="groq:m")).startswith(
        "endpoints.0.model: the model cannot be made: No groq here."
    )


@pytest.mark.parametrize(
    ("written", "strategy"),
    [
        ({"kind": "after_attempt", "attempts": 2}, stop_after_attempt(2)),
        ({"kind": "after_delay", "seconds": "5s"}, stop_after_delay(5.0)),
        ({"kind": "before_delay", "seconds": 1.5}, stop_before_delay(1.5)),
    ],
)
def test_a_stop_becomes_a_tenacity_strategy(written: Any, strategy: Any) -> None:
    stop = arguments(policy={"stop": written})["policy"].stop
    assert type(stop) is type(strategy)
    assert vars(stop) == vars(strategy)


def test_without_a_stop_only_attempts_and_time_end_the_tries() -> None:
    assert arguments(policy={"attempts": 2})["policy"].stop is None
    assert arguments(policy={"stop": None})["policy"].stop is None
