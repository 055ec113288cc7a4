"""Whose fault is it when a call runs out of its own time?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, DeadlineExceeded, Endpoint
from langchain_cluster.testing import ScriptedModel

IMPATIENT: Any = {"configurable": {"cluster": {"timeout": 0.02}}}


def pair(delay: float) -> ClusteredLLM:
    return ClusteredLLM([Endpoint(id, ScriptedModel("ok", delay=delay)) for id in "ab"], seed=1)


async def test_impatient_callers_open_no_circuit() -> None:
    llm = pair(0.1)
    await asyncio.gather(*(llm.ainvoke(f"warm {n}") for n in range(60)))
    for n in range(12):
        with pytest.raises(DeadlineExceeded):
            await llm.ainvoke(f"at once {n}", IMPATIENT)
    assert {m.breaker_state.value for m in llm.cluster.pool} == {"closed"}
    assert (await llm.ainvoke("in peace")).content == "ok"


async def test_an_endpoint_that_hangs_is_still_blamed_by_deadlines() -> None:
    hanging = ScriptedModel("ok", delay=30.0)
    llm = ClusteredLLM(
        [Endpoint("hangs", hanging), Endpoint("well", ScriptedModel("ok", delay=0.005), priority=1)], seed=1
    )
    for n in range(6):
        with pytest.raises(DeadlineExceeded):
            await llm.ainvoke(f"{n}", {"configurable": {"cluster": {"timeout": 0.05}}})
        if llm.cluster.pool.get("hangs").breaker_state.value == "open":
            break
    assert llm.cluster.pool.get("hangs").breaker_state.value == "open"
    assert (await llm.ainvoke("now")).response_metadata["cluster"]["endpoint"] == "well"
