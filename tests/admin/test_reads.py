"""What is shown, and that nothing secret is."""

import re

import pytest

from langchain_cluster.admin import create_app
from langchain_cluster.admin.shapes import event_shape
from langchain_cluster.errors import ConfigError
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model.call import Answer, AttemptReport, Request, Usage, Verdict
from langchain_cluster.model.endpoint import EndpointStatus
from langchain_cluster.model.events import AttemptEnded, BudgetUsed, CallEnded, CallQueued, StatusChanged
from tests.admin.conftest import Here


def test_it_is_healthy_and_ready(here: Here) -> None:
    client = here()
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"ready": True, "closed": False, "why_not": {}}


def test_it_is_not_ready_when_nobody_may_be_asked_and_says_why(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    for id in ("a", "b"):
        llm.cluster.pool.set_status(id, EndpointStatus.OFFLINE)
    told = client.get("/ready")
    assert told.status_code == 503
    assert told.json()["why_not"] == {"a": "offline", "b": "offline"}


def test_a_closed_cluster_is_not_ready(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.cluster.close()
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200


def test_endpoints_have_their_state_traffic_and_cost(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.invoke("hello")
    a, b = client.get("/endpoints").json()["endpoints"]
    assert (a["id"], a["state"], a["circuit"], a["served"], a["share"]) == ("a", "up", "closed", 1, 1.0)
    assert a["output_tokens"] > 0
    assert a["cost_usd"] > 0
    assert (b["served"], b["share"], b["timeline"]) == (0, 0.0, [])
    assert client.get("/endpoints/a").json()["id"] == "a"
    assert client.get("/endpoints/nobody").status_code == 404


def test_shares_are_of_the_last_minute(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.invoke("hello")
    llm.cluster.pool.drain("a")
    llm.invoke("you")
    shares = {e["id"]: e["share"] for e in client.get("/endpoints").json()["endpoints"]}
    assert shares == {"a": 0.5, "b": 0.5}


def test_a_breakers_changes_are_a_timeline(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.cluster.pool.force_open("a")
    llm.cluster.pool.force_close("a")
    line = client.get("/endpoints/a").json()["timeline"]
    assert [change["state"] for change in line] == ["forced_open", "closed"]
    assert line[0]["at"] > 1e9


def test_what_an_endpoint_leaves_behind_goes_with_it(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.invoke("hello")
    endpoint = llm.cluster.pool.list()[0].endpoint
    llm.cluster.pool.remove("a")
    llm.cluster.pool.add(endpoint)
    assert client.get("/endpoints/a").json()["output_tokens"] == 0
    assert client.get("/stats").json()["output_tokens"] > 0


def test_stats_and_the_cache_are_counted(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.invoke("hello")
    llm.invoke("hello")
    stats = client.get("/stats").json()
    assert (stats["calls"], stats["cache_hits"], stats["cache_hit_ratio"]) == (2, 1, 0.5)
    cache = client.get("/cache").json()
    assert (cache["exact"]["hits"], cache["semantic"]) == (1, None)


def test_a_store_that_cannot_count_is_no_error(
    here: Here, llm: ClusteredLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = here()

    class Away:
        def stats(self) -> None:
            raise ConnectionError("redis://:hush@host")

        def close(self) -> None:
            """Nothing to give back."""

    monkeypatch.setattr(llm.cluster, "cache", Away())
    assert client.get("/cache").json()["exact"] == {"error": "ConnectionError"}


def test_metrics_are_in_the_format_of_prometheus(here: Here, llm: ClusteredLLM) -> None:
    client = here()
    llm.invoke("hello")
    told = client.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'langchain_cluster_admin_endpoint_served_total{endpoint="a"} 1' in told.text
    assert 'langchain_cluster_admin_endpoint_state{endpoint="b",state="up"} 1' in told.text


def test_metrics_are_those_of_telemetry_where_it_was_set_up() -> None:
    pytest.importorskip("prometheus_client")
    from starlette.testclient import TestClient

    from langchain_cluster import Cluster, Endpoint, telemetry
    from langchain_cluster.testing import ScriptedModel

    with telemetry.setup(prometheus="127.0.0.1:0", default=False) as told:
        cluster = Cluster([Endpoint("a", model=ScriptedModel("fox"))], telemetry=told)
        client = TestClient(create_app(cluster), base_url="http://localhost", client=("::1", 1))
        text = client.get("/metrics").text
    assert "# TYPE target_info gauge" in text or "langchain_cluster_breaker_state" in text
    assert "langchain_cluster_admin" not in text


def test_the_config_in_force_is_shown_without_secrets(here: Here) -> None:
    config = {
        "endpoints": [{"id": "a", "model": "openai:m", "url": "http://h/v1?key=hush", "api_key_env": "KEY"}]
    }
    told = here(config=config).get("/config")
    assert told.json()["endpoints"][0]["api_key_env"] == "KEY"
    assert told.json()["breaker"]["window"] == 30.0
    assert "hush" not in told.text


def test_what_is_sent_in_headers_is_shown_by_its_names_alone(here: Here) -> None:
    sent = {"X-Rack": "hush", "X-Gpu_env": "GPU"}
    config = {
        "endpoints": [{"id": "a", "model": "openai:m", "params": {"default_headers": sent, "top_p": 0.5}}]
    }
    (told,) = here(config=config).get("/config").json()["endpoints"]
    assert told["params"] == {"default_headers": {"X-Rack": "***", "X-Gpu_env": "GPU"}, "top_p": 0.5}


def test_a_cluster_made_in_code_shows_what_it_knows(here: Here) -> None:
    told = here().get("/config").json()
    assert told["policy"]["attempts"] == 3
    assert told["balancer"] == {"kind": "peak_ewma"}


def test_a_url_is_shown_without_its_user_and_query(here: Here) -> None:
    told = here().get("/endpoints")
    assert told.json()["endpoints"][0]["url"] == "http://10.0.0.1/v1"
    assert told.json()["endpoints"][0]["model"] == "scripted"
    assert "hush" not in told.text


def test_the_page_may_load_nothing_from_elsewhere(here: Here) -> None:
    told = here().get("/")
    policy = told.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    named = set(re.findall(r"https?://[^\s\"'<]+", told.text))
    assert named <= {"http://www.w3.org/2000/svg"}  # the name of a language, which nobody loads
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=\"(?!data:)", told.text)
    assert "innerHTML" not in told.text


def test_every_answer_forbids_to_keep_or_frame_it(here: Here) -> None:
    client = here()
    for path in ("/", "/health", "/endpoints", "/nowhere"):
        headers = client.get(path).headers
        assert (headers["cache-control"], headers["x-frame-options"]) == ("no-store", "DENY")
        assert "access-control-allow-origin" not in headers


def test_an_event_tells_nothing_that_was_asked() -> None:
    request = Request(key="hush", tenant="hush", payload="hush", prefix="hush", agent="planner")
    shape = event_shape(CallQueued(1.0, request, 3), 1e9)
    assert shape["request"]["agent"] == "planner"
    assert "hush" not in repr(shape)
    assert "hush" not in repr(event_shape(BudgetUsed(1.0, "tenant", "hush", 1.0, 5.0, 5.0, None), 1e9))
    status = StatusChanged(1.0, "a", EndpointStatus.BUSY, EndpointStatus.ONLINE)
    assert event_shape(status, 1e9) == {
        "kind": "StatusChanged", "at": 1e9, "endpoint": "a", "status": "busy", "before": "online",
    }  # fmt: skip


def test_the_end_of_an_attempt_and_of_a_call_is_told_without_what_was_said() -> None:
    report = AttemptReport(1, "a", Verdict.TRANSIENT, 0.5, "key sk-abcdefghijkl refused", ValueError("hush"))
    shape = event_shape(AttemptEnded(1.0, report), 1e9)
    assert shape["report"] == {
        "number": 1, "endpoint": "a", "verdict": "transient", "seconds": 0.5, "reason": "key *** refused",
    }  # fmt: skip
    answer = Answer("hush", "miss", "a", seconds=float("inf"), usage=Usage(7, 3))
    shape = event_shape(CallEnded(1.0, Request(payload="hush"), answer), 1e9)
    assert "hush" not in repr(shape)
    assert shape["answer"]["usage"] == {"input_tokens": 7, "output_tokens": 3, "cached_tokens": 0}
    assert shape["answer"]["seconds"] is None


def test_it_can_be_mounted_in_another_app(llm: ClusteredLLM) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    app = Starlette(routes=[Mount("/ops/admin", create_app(llm))])
    client = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))
    assert client.get("/ops/admin/health").json() == {"status": "ok"}
    away = TestClient(app, base_url="http://localhost", client=("10.0.0.9", 1))
    assert away.get("/ops/admin/").status_code == 200  # the page alone tells nothing
    assert away.get("/ops/admin/endpoints").status_code == 401


def test_what_is_no_cluster_is_refused() -> None:
    with pytest.raises(ConfigError, match="str is neither a Cluster nor has one"):
        create_app("cluster")
