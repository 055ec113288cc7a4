"""A cache is warmed by prompts: what is there is asked of nobody, and a run goes on where it stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_cluster import ClusteredLLM, ClusterError, ConfigError, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.testing import ScriptedModel
from langchain_cluster.warming import Prompt, Warmed, awarm, warm

Warm = Callable[..., Warmed]


@pytest.fixture(params=["warm", "awarm"])
def warming(request: pytest.FixtureRequest) -> Warm:
    if request.param == "warm":
        return warm
    return lambda *given, **more: asyncio.run(awarm(*given, **more))


def calling() -> AIMessage:
    """An answer that is not to be kept."""
    return AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1", "type": "tool_call"}])


def echo(messages: Any) -> str:
    return f"about {messages[-1].text}"


def build(*script: Any, **options: Any) -> tuple[ClusteredLLM, ScriptedModel]:
    model = ScriptedModel(*(script or [echo]))
    return ClusteredLLM([Endpoint("e", model)], **{"cache": MemoryCache(), **options}), model


def test_what_was_warmed_is_answered_from_the_cache(warming: Warm) -> None:
    llm, model = build()
    assert warming(llm, ["a", "b", "c"]) == Warmed(3, asked=3)
    assert model.calls == 3
    answer = llm.invoke("b")
    assert (answer.text, answer.response_metadata["cluster"]["cache"]) == ("about b", "memory")


def test_a_second_run_asks_nobody(warming: Warm) -> None:
    llm, model = build()
    warming(llm, ["a", "b"])
    assert warming(llm, ["a", "b", "c", "c"]) == Warmed(4, hits=3, asked=1)
    assert model.calls == 3


def test_a_prompt_says_whose_it_is(warming: Warm) -> None:
    llm, _ = build(agents={"planner": {"timeout": 5}})
    prompts = [
        {"prompt": "mine", "tenant": "ann"},
        {"messages": [["system", "be brief"], ["human", "mine"]], "agent": "planner"},
        {"prompt": "mine", "system": "be brief", "arguments": {"max_tokens": 5}, "stop": "x"},
        Prompt([HumanMessage("mine")]),
    ]
    assert warming(llm, prompts).asked == 4
    whose = {"configurable": {"cluster": {"tenant": "ann"}}}
    assert llm.invoke("mine", whose).response_metadata["cluster"]["cache"] == "memory"
    assert (
        llm.invoke([("system", "be brief"), ("human", "mine")]).response_metadata["cluster"]["cache"]
        == "memory"
    )
    asked = llm.invoke([("system", "be brief"), ("human", "mine")], stop=["x"], max_tokens=5)
    assert asked.response_metadata["cluster"]["cache"] == "memory"


def test_a_binding_warms_its_own_key(warming: Warm) -> None:
    llm, _ = build()
    bound = llm.bind(stop=["x"]).with_config(run_name="y")
    assert warming(bound, ["a"]).asked == 1
    assert llm.invoke("a").response_metadata["cluster"]["cache"] == "miss"
    assert bound.invoke("a").response_metadata["cluster"]["cache"] == "memory"


def test_what_cannot_be_cached_is_not_asked(warming: Warm) -> None:
    llm, model = build()
    image = {"messages": [["human", [{"type": "image", "url": "http://127.0.0.1/x.png"}]]]}
    assert warming(llm, [image, {"prompt": "x", "arguments": {"temperature": 1}}]) == Warmed(2, skipped=2)
    assert model.calls == 0


def test_an_answer_that_is_not_kept_is_told(warming: Warm) -> None:
    cut = calling()
    llm, _ = build("whole", cut)
    assert warming(llm, ["a", "b"], concurrency=1) == Warmed(2, asked=1, unkept=1)


def test_a_cache_that_keeps_nothing_ends_the_run(warming: Warm) -> None:
    llm, model = build(calling())
    with pytest.raises(ClusterError, match="none of the first 10 answers was kept"):
        warming(llm, [str(n) for n in range(100)], concurrency=1)
    assert model.calls == 10


def test_what_failed_is_told_and_the_others_go_on(warming: Warm) -> None:
    llm, _ = build("fine", ValueError("no such\nprompt"), "fine", policy={"attempts": 1})
    warmed = warming(llm, ["a", "b", "c"], concurrency=1)
    assert (warmed.asked, warmed.failed, warmed.done) == (2, 1, 3)
    assert warmed.errors == ("prompt 2: ValueError: no such prompt",)
    assert warming(llm, ["a", "b", "c"]) == Warmed(3, hits=2, asked=1)


def test_a_refresh_asks_for_all_of_it_again(warming: Warm) -> None:
    llm, model = build("old", "new")
    warming(llm, ["a"])
    assert warming(llm, ["a"], refresh=True).asked == 1
    assert llm.invoke("a").text == "new"
    assert model.calls == 2


def test_progress_is_told_of_every_prompt(warming: Warm) -> None:
    llm, _ = build()
    seen: list[Warmed] = []
    warming(llm, [str(n) for n in range(20)], progress=seen.append)
    assert [warmed.done for warmed in seen] == list(range(1, 21))


def test_no_more_are_in_flight_than_may_be() -> None:
    lock, now, most = threading.Lock(), [0], [0]
    full, go = threading.Event(), threading.Event()

    def slow(messages: Any) -> str:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == 3:
                full.set()
        assert go.wait(30)
        with lock:
            now[0] -= 1
        return "x"

    llm, _ = build(slow)
    running = threading.Thread(target=warm, args=(llm, [str(n) for n in range(9)]), kwargs={"concurrency": 3})
    running.start()
    assert full.wait(30)
    go.set()
    running.join(30)
    assert most == [3]


async def test_a_run_that_is_cut_off_goes_on_where_it_stopped() -> None:
    stopped = asyncio.Event()

    class Slow(ScriptedModel):
        async def _agenerate(self, *given: Any, **more: Any) -> Any:
            if self.calls == 2 and not stopped.is_set():
                stopped.set()
                await asyncio.Event().wait()
            return await super()._agenerate(*given, **more)

    model = Slow(echo)
    llm = ClusteredLLM([Endpoint("e", model)], cache=MemoryCache())
    seen: list[Warmed] = []
    running = asyncio.create_task(awarm(llm, ["a", "b", "c", "d"], concurrency=1, progress=seen.append))
    await stopped.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen[-1] == Warmed(4, asked=2)
    assert await awarm(llm, ["a", "b", "c", "d"]) == Warmed(4, hits=2, asked=2)


@pytest.mark.parametrize(
    ("given", "more", "says"),
    [
        ("ScriptedModel", {}, "no ClusteredLLM"),
        ("uncached", {}, "no cache to be warmed"),
        ("cached", {"concurrency": 0}, "warm.concurrency"),
        ("cached", {"prompts": [{"prompt": "x", "tennant": "a"}]}, "prompt 1: unknown key 'tennant'.*tenant"),
    ],
)
def test_a_mistake_is_told_at_once(given: str, more: Any, says: str, warming: Warm) -> None:
    model: Any = {
        "ScriptedModel": ScriptedModel(),
        "uncached": build(cache=None)[0],
        "cached": build()[0],
    }[given]
    with pytest.raises(ConfigError, match=says):
        warming(model, **{"prompts": ["a"], **more})


def test_keys_tell_what_would_be_cached() -> None:
    llm, _ = build()
    assert len(llm.cache_keys("a")) == 1
    assert llm.cache_keys("a") != llm.cache_keys("b")
    assert llm.cache_keys("a", temperature=1.0) == ()
    assert llm.cache_keys("a", {"configurable": {"cluster": {"cache": False}}}) == ()
    assert build(cache=None)[0].cache_keys("a") == ()
