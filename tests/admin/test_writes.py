"""What an operator may do, by the token."""

import logging

import pytest

from langchain_cluster.llm import ClusteredLLM
from tests.admin.conftest import BEARER, TOKEN, Here

ACTIONS = [
    ("drain", "draining"),
    ("undrain", "up"),
    ("force-open", "forced_open"),
    ("force-close", "up"),
    ("reset", "up"),
    ("recover", "up"),
    ("disable-breaker", "up"),
    ("metrics-only", "up"),
    ("enable-breaker", "up"),
]


@pytest.mark.parametrize(("action", "state"), ACTIONS)
def test_an_action_is_done_to_the_endpoint(here: Here, action: str, state: str) -> None:
    told = here().post(f"/endpoints/a/{action}", headers=BEARER)
    assert told.status_code == 200, told.text
    assert told.json()["done"] == action
    assert told.json()["endpoint"]["state"] == state


def test_a_recovered_endpoint_answers_again(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    client.post("/endpoints/a/drain", headers=BEARER, json={"migrate": True})
    client.post("/endpoints/a/force-open", headers=BEARER)
    assert llm.invoke("one").response_metadata["cluster"]["endpoint"] == "b"
    assert client.post("/endpoints/a/recover", headers=BEARER).json()["endpoint"]["state"] == "up"
    assert llm.invoke("two").response_metadata["cluster"]["endpoint"] == "a"


def test_standby_levels_are_promoted_and_demoted(here: Here) -> None:
    client = here()
    assert client.post("/promote", headers=BEARER).json() == {"done": "promote", "level": 1}
    told = client.post("/demote", headers=BEARER, json={"level": 1}).json()
    assert told == {"done": "demote", "level": 1, "changed": True}
    assert client.post("/demote", headers=BEARER).status_code == 400
    assert client.post("/promote", headers=BEARER, json={"level": 7}).status_code == 400


def test_calls_are_rebalanced(here: Here) -> None:
    assert here().post("/rebalance", headers=BEARER).json() == {"done": "rebalance", "called_back": 0}


def test_the_cache_is_cleared_by_pattern(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.invoke("hello")
    assert client.post("/cache/clear", headers=BEARER, json={"pattern": "nothing*"}).json()["removed"] == 0
    assert client.post("/cache/clear", headers=BEARER).json() == {"done": "clear", "removed": 1}
    llm.invoke("hello")
    assert client.get("/stats").json()["cache_hits"] == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"semantic": True}, "no semantic cache"),
        ({"semantic": True, "pattern": "a*"}, "only be cleared whole"),
        ({"pattern": "a" * 513}, "at most 512"),
        ({"pattern": 7}, "not of type str"),
        ({"patern": "*"}, "did you mean 'pattern'"),
        (["*"], "not a JSON object"),
    ],
)
def test_a_body_that_is_not_valid_says_why(here: Here, body: object, why: str) -> None:
    told = here().post("/cache/clear", headers=BEARER, json=body)
    assert told.status_code == 400
    assert why in told.json()["error"]


def test_a_body_that_is_not_json_says_so(here: Here) -> None:
    headers = {**BEARER, "content-type": "application/json"}
    assert "not JSON" in here().post("/rebalance", headers=headers, content=b"{").json()["error"]


@pytest.mark.parametrize(
    "path", ["/endpoints/nobody/drain", "/endpoints/a/explode", "/endpoints/a", "/frobnicate"]
)
def test_what_there_is_not_is_not_found(here: Here, path: str) -> None:
    assert here().post(path, headers=BEARER).status_code in (404, 405)


def test_an_id_may_have_a_slash(here: Here, llm: ClusteredLLM) -> None:
    from langchain_cluster import Endpoint
    from langchain_cluster.testing import ScriptedModel

    llm.cluster.pool.add(Endpoint("pod/1", model=ScriptedModel("hi")))
    client = here()
    assert client.get("/endpoints/pod%2F1").json()["id"] == "pod/1"
    assert client.post("/endpoints/pod%2F1/drain", headers=BEARER).json()["endpoint"]["state"] == "draining"


def test_what_fails_behind_the_gate_is_told_by_its_kind(
    here: Here, llm: ClusteredLLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(pattern: str) -> int:
        raise ConnectionError("redis://u:hush@10.0.0.1 is away")

    monkeypatch.setattr(llm.cluster.cache, "clear", away)
    told = here().post("/cache/clear", headers=BEARER)
    assert (told.status_code, told.json()) == (500, {"error": "it failed: ConnectionError", "status": 500})
    assert told.headers["cache-control"] == "no-store"
    assert "ConnectionError" in caplog.text
    assert "hush" not in caplog.text


def test_what_was_done_is_logged_without_the_token(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "langchain_cluster.admin"):
        here().post("/endpoints/a/drain", headers=BEARER)
    assert caplog.messages == ["drain of endpoint 'a', asked for from 127.0.0.1"]
    assert TOKEN not in caplog.text


def test_a_write_wakes_nobody_who_only_reads(here: Here, llm: ClusteredLLM) -> None:
    assert here().get("/endpoints/a/drain").status_code == 404
    assert llm.cluster.pool.list()[0].status.value == "online"
