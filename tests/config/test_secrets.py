"""A secret is given by the name of a variable. No message, table or dump shows one."""

import json
from typing import Any

import pytest

from langchain_cluster.config import cluster_arguments, describe, load
from langchain_cluster.config.describe import variables
from langchain_cluster.config.secrets import is_secret, with_variables
from langchain_cluster.errors import ConfigError

SECRET = "sk-live-0123456789abcdef"


def refused(**own: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        cluster_arguments(load({"endpoints": [{"id": "a", "model": "scripted:x", **own}]}))
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("key", ["api_key", "openai_api_key", "apikey", "password", "token", "client_secret"])
def test_a_literal_secret_is_refused_and_told_where_it_belongs(key: str) -> None:
    error = refused(**{key: SECRET})
    assert error.key == f"endpoints.0.{key}"
    assert "api_key_env" in str(error)


@pytest.mark.parametrize(
    ("own", "key", "instead"),
    [
        ({"params": {"api_key": SECRET}}, "params.api_key", "api_key_env"),
        (
            {"params": {"default_headers": {"Authorization": SECRET}}},
            "params.default_headers.Authorization",
            "_env",
        ),
        ({"params": {"default_headers": {"X-Api-Key": SECRET}}}, "params.default_headers.X-Api-Key", "_env"),
        ({"params": {"extra": [{"hf_token": SECRET}]}}, "params.extra.0.hf_token", "hf_token_env"),
        ({"metadata": {"password": SECRET}}, "metadata.password", "password_env"),
    ],
)
def test_nor_may_it_hide_deeper(own: dict[str, Any], key: str, instead: str) -> None:
    error = refused(**own)
    assert error.key == f"endpoints.0.{key}"
    assert instead in str(error)


@pytest.mark.parametrize("value", [SECRET, f"${{{SECRET}}}", "", 7, ["A"]])
def test_the_secret_itself_where_its_name_belongs_is_not_repeated(value: object) -> None:
    error = refused(api_key_env=value)
    assert error.key == "endpoints.0.api_key_env"
    assert "is not the name of an environment variable" in str(error)


def test_nor_is_one_that_could_be_a_name() -> None:
    could_be = "sk_live_0123456789abcdef"
    error = refused(model="openai:m", api_key_env=could_be)
    assert could_be not in str(error)
    assert "looks like the secret itself" in str(error)


@pytest.mark.parametrize("url", [f"http://user:{SECRET}@gpu-1/v1", f"http://{SECRET}@gpu-1/v1"])
def test_an_address_with_a_password_is_refused(url: str) -> None:
    assert "api_key_env" in str(refused(url=url))


def test_what_is_no_secret_is_not_taken_for_one() -> None:
    for name in (
        "max_tokens",
        "stop_token_ids",
        "prompt_cache_key",
        "max_completion_tokens",
        "logprobs",
        "secretary",
    ):
        assert not is_secret(name), name
    for name in (
        "api-key",
        "X-API-Key",
        "Ocp-Apim-Subscription-Key",
        "aws_session_token",
        "Cookie",
        "passwd",
    ):
        assert is_secret(name), name


def test_the_config_in_force_is_json_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", SECRET)
    monkeypatch.delenv("OTHER_KEY", raising=False)
    config = load(
        {
            "endpoints": [
                {
                    "id": "a",
                    "model": "openai:m",
                    "base_url": f"http://gpu-1/v1?key={SECRET}",
                    "api_key_env": "GPU_KEY",
                },
                {"id": "b", "model": "openai:m", "api_key_env": "OTHER_KEY", "tags": ["y", "x"]},
                {
                    "id": "c",
                    "model": "scripted:x",
                    "params": {"thing": object(), "n": float("nan"), "s": {2, 1}},
                },
            ]
        }
    )
    told = describe(config)
    assert SECRET not in json.dumps(told, allow_nan=False)
    first, second, third = told["endpoints"]
    assert first["url"] == "http://gpu-1/v1?***"
    assert "base_url" not in first
    assert first["api_key_env"] == "GPU_KEY"
    assert (second["tags"], second["roles"], second["url"]) == (["x", "y"], ["llm"], None)
    assert third["params"] == {"thing": "<object>", "n": "nan", "s": [1, 2]}
    assert told["policy"]["attempts"] == 3
    assert told["balancer"] == {"kind": "peak_ewma"}
    assert variables(config) == {"GPU_KEY": True, "OTHER_KEY": False}


def test_a_name_that_looks_secret_is_masked_wherever_it_stands() -> None:
    config = load(
        {"endpoints": [{"id": "a", "model": "scripted:x"}], "balancer": {"kind": "peak_ewma", "decay": 2}}
    )
    own = config.endpoints[0].model_copy(update={"params": {"password": SECRET}})  # past the validation
    told = describe(config.model_copy(update={"endpoints": (own,)}))
    assert told["endpoints"][0]["params"] == {"password": "***"}
    assert told["balancer"] == {"kind": "peak_ewma", "decay": 2}


def test_a_variable_that_is_none_gives_no_argument() -> None:
    assert with_variables({"a_env": None, "b": [{"c_env": None}], "d": None}, "params") == {
        "b": [{}],
        "d": None,
    }
