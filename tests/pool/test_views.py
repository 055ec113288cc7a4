"""What kinds of requests see of a pool: worked out once, never out of date, as if asked for anew."""

from __future__ import annotations

from collections import Counter
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus
from langchain_cluster.pool import choose
from langchain_cluster.pool.match import lacks
from langchain_cluster.pool.views import MOST
from tests.pool.watched import Watched

TAGS = st.frozensets(st.sampled_from(["eu", "gpu", "cheap"]), max_size=2)
TIERS, ZONES = st.sampled_from(["fast", "smart"]), st.sampled_from(["a", "b", "c"])
ENDPOINTS = st.lists(
    st.fixed_dictionaries(
        {
            "tags": TAGS,
            "tier": TIERS,
            "zone": ZONES,
            "priority": st.integers(0, 1),
            "roles": st.sampled_from([{"llm"}, {"llm", "embedding"}, {"embedding"}]),
            "capabilities": st.sampled_from([None, {"tools"}, {"tools", "vision"}]),
        }
    ),
    min_size=1,
    max_size=9,
)
REQUESTS = st.builds(
    Request,
    tags=TAGS,
    tier=st.none() | TIERS,
    zone=st.none() | ZONES,
    needs=st.sampled_from([frozenset(), frozenset({"tools"}), frozenset({"vision"})]),
    role=st.sampled_from(["llm", "embedding"]),
)


def expected(watched: Watched, request: Request, exclude: tuple[str, ...]) -> set[str]:
    """Who may be asked, by going through all of them."""
    suit = [m for m in watched.pool if lacks(m.endpoint, request) is None]
    able = [m.endpoint for m in suit if m.why_not(1000.0) is None]
    left = [e for e in able if e.id not in exclude]
    first = min((m.endpoint.priority for m in suit), default=0)
    if len([e for e in able if e.priority == first]) < sum(m.endpoint.priority == first for m in suit):
        return {e.id for e in left}  # some of the traffic goes to other levels, and zones are not heard
    left = [e for e in left if e.priority == min(one.priority for one in left)]
    if watched.pool.snapshot.zoned and request.zone is not None:
        left = [e for e in left if e.zone == request.zone] or left
    return {e.id for e in left}


@settings(max_examples=150, deadline=None)
@given(ENDPOINTS, st.lists(REQUESTS, min_size=1, max_size=4), st.sampled_from(sorted(BALANCERS)), st.data())
def test_they_lead_where_going_through_all_endpoints_leads(
    described: list[dict[str, Any]], requests: list[Request], balancer: str, data: st.DataObject
) -> None:
    watched = Watched(
        *(Endpoint(f"e{n}", **told) for n, told in enumerate(described)), balancer=balancer, outlier=None
    )
    ids = [member.endpoint.id for member in watched.pool]
    for _ in range(3):
        for request in [*requests, *requests, *requests]:
            exclude = tuple(data.draw(st.sets(st.sampled_from(ids), max_size=2), label="exclude"))
            may = expected(watched, request, exclude)
            try:
                lease = watched.pool.acquire(request, exclude=exclude)
            except NoEndpointAvailable:
                assert not may
            else:
                assert lease.endpoint.id in may
                lease.settle(Outcome.ok(seconds=0.1))
        changed = data.draw(st.sampled_from(ids), label="changed")
        watched.pool.set_status(changed, data.draw(st.sampled_from([EndpointStatus.OFFLINE, "online"])))


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    looks: Counter[str] = Counter()

    def counting(endpoint: Endpoint, request: Request) -> str | None:
        looks[endpoint.id] += 1
        return lacks(endpoint, request)

    monkeypatch.setattr(choose, "lacks", counting)
    return looks


KINDS = [{"tags": {"eu"}}, {"tier": "fast"}, {"model": "m"}, {"needs": {"tools"}}, {"zone": "z"}]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: next(iter(kind)))
@pytest.mark.parametrize("balancer", sorted(BALANCERS))
def test_endpoints_are_looked_through_once_for_a_kind(
    kind: dict[str, Any], balancer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {"tags": {"eu"}, "tier": "fast", "metadata": {"model": "m"}}
    right = [Endpoint(f"r{n}", zone="z", capabilities={"tools"}, **told) for n in range(6)]
    others = [Endpoint(f"o{n}", tier="other", capabilities=set()) for n in range(6)]
    watched = Watched(*right, *others, balancer=balancer)
    looks = counted(monkeypatch)
    for _ in range(40):
        lease = watched.pool.acquire(Request(key="k", prefix="p", **kind))
        assert lease.endpoint in right
        lease.settle(Outcome.ok(seconds=0.1))
    assert max(looks.values()) == 1
    watched.pool.drain("r0")
    assert watched.pool.acquire(Request(**kind)).endpoint in right[1:]
    assert max(looks.values()) == 2


def test_what_a_profile_denies_is_looked_up_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = SimpleNamespace(profile={"tool_calling": False})
    watched = Watched(Endpoint("a"), Endpoint("b", blind))
    assert watched.pool.snapshot.doubtful
    looks = counted(monkeypatch)
    for _ in range(20):
        with watched.pool.acquire(Request(needs={"tools"})) as lease:
            assert lease.endpoint.id == "a"
    assert max(looks.values()) <= 2


def test_an_endpoint_that_is_described_anew_is_seen_anew() -> None:
    watched = Watched(Endpoint("a", tags={"eu"}), Endpoint("b"))
    assert watched.asked(tags={"eu"}) == {"a"}
    watched.pool.replace([Endpoint("a"), Endpoint("b", tags={"eu"})])
    assert watched.asked(tags={"eu"}) == {"b"}


def test_turns_are_taken_in_each_kind() -> None:
    watched = Watched(*(Endpoint(f"e{n}", tags={"odd"} if n % 2 else {"even"}) for n in range(6)))
    got: Counter[str] = Counter()
    for n in range(60):
        with watched.pool.acquire(Request(tags={"odd"} if n % 2 else {"even"})) as lease:
            got[lease.endpoint.id] += 1
    assert set(got.values()) == {10}


def test_kinds_without_end_are_not_kept_without_end() -> None:
    watched = Watched(*(Endpoint(f"e{n}", tags={f"t{m}" for m in range(9)}) for n in range(3)))
    for n in range(3 * MOST):
        with watched.pool.acquire(Request(tags={"t1"}, zone=None, model=None, needs={f"need {n}"})):
            pass
    assert len(watched.pool.snapshot.views) <= MOST


def test_a_zone_is_not_insisted_on_when_all_in_it_were_asked() -> None:
    watched = Watched(*(Endpoint(f"e{n}", zone="near" if n < 2 else "far") for n in range(6)))
    for _ in range(3):
        assert watched.pool.acquire(Request(zone="near")).endpoint.id in {"e0", "e1"}
        assert watched.pool.acquire(Request(zone="near"), exclude=("e0",)).endpoint.id == "e1"
        elsewhere = watched.pool.acquire(Request(zone="near"), exclude=("e0", "e1"))
        assert elsewhere.endpoint.id in {"e2", "e3", "e4", "e5"}


def test_threads_may_ask_for_kinds_while_the_pool_changes() -> None:
    watched = Watched(*(Endpoint(f"e{n}", tags={f"t{n % 3}"}) for n in range(9)), balancer="peak_ewma")
    wrong: list[Any] = []

    def ask(mine: int) -> None:
        try:
            for _ in range(300):
                with watched.pool.acquire(Request(tags={f"t{mine}"})) as lease:
                    if lease.endpoint.tags != {f"t{mine}"}:
                        wrong.append(lease.endpoint)
        except Exception as error:
            wrong.append(error)

    threads = [Thread(target=ask, args=(n % 3,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for n in range(200):
        watched.pool.set_status(f"e{n % 3}", "draining" if n // 3 % 2 else "online")
    for thread in threads:
        thread.join()
    assert wrong == []


# -- levels, for a kind -----------------------------------------------------------------------------


def test_a_kind_spills_to_its_own_standby_however_well_the_rest_of_the_pool_is() -> None:
    eu = [Endpoint(f"eu{n}", tags={"eu"}) for n in range(4)]
    standby = Endpoint("standby", tags={"eu"}, priority=1)
    watched = Watched(*eu, standby, *(Endpoint(f"us{n}") for n in range(12)))
    for n in range(3):
        watched.pool.set_status(f"eu{n}", "offline")
    assert watched.asked(times=100) == {"eu3", *(f"us{n}" for n in range(12))}
    got: Counter[str] = Counter()
    for _ in range(2000):
        with watched.pool.acquire(Request(tags={"eu"})) as lease:
            got[lease.endpoint.id] += 1
    assert got["eu3"] / 2000 == pytest.approx(0.35, abs=0.04)  # a quarter of the level is well, times 1.4
    assert got["eu3"] + got["standby"] == 2000


def test_the_embedders_do_not_keep_the_models_from_panic() -> None:
    llms = [Endpoint(f"llm{n}") for n in range(4)]
    watched = Watched(*llms, *(Endpoint(f"emb{n}", roles={"embedding"}) for n in range(12)))
    for n in range(3):
        watched.pool.mark(f"llm{n}", healthy=False)
    # One of four is left: to load it with everything helps nobody.
    assert watched.asked(times=100) == {"llm0", "llm1", "llm2", "llm3"}
    assert watched.asked(role="embedding") == {f"emb{n}" for n in range(12)}


def test_a_kind_of_whom_nobody_is_well_is_still_asked() -> None:
    watched = Watched(Endpoint("a", tags={"eu"}), Endpoint("b"), Endpoint("c"))
    watched.pool.mark("a", healthy=False)
    assert watched.asked(tags={"eu"}) == {"a"}
    assert watched.asked() == {"b", "c"}
    assert watched.pool.anybody(Request(tags={"eu"}), now=1000.0)
    assert not watched.pool.anybody(Request(tags={"eu"}), exclude=("a",), now=1000.0)


def test_a_call_waits_for_the_only_one_of_its_kind_even_if_that_is_not_well() -> None:
    watched = Watched(Endpoint("a", tags={"eu"}, capacity=Capacity(max_connections=1)), Endpoint("b"))
    watched.pool.mark("a", healthy=False)
    with watched.pool.acquire(Request(tags={"eu"})):
        assert watched.pool.full(Request(tags={"eu"}))
        assert not watched.pool.full(Request())
    assert not watched.pool.full(Request(tags={"eu"}))
