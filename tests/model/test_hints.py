"""What a model's profile says, and how little is believed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from langchain_cluster import Endpoint
from langchain_cluster.model.hints import NO_HINTS, Hints, hints_of

ChatOpenAI = pytest.importorskip("langchain_openai").ChatOpenAI


def test_a_known_model_says_what_it_takes() -> None:
    endpoint = Endpoint("a", ChatOpenAI(model="gpt-4o-mini", api_key="-").bind(seed=1))
    assert endpoint.window == endpoint.hints.window == 128_000
    assert "audio" in endpoint.hints.denied
    assert "vision" not in endpoint.hints.denied
    assert (endpoint.context_window, endpoint.capabilities) == (None, None)


def test_what_the_user_says_comes_first() -> None:
    assert Endpoint("a", ChatOpenAI(model="gpt-4o-mini", api_key="-"), context_window=9).window == 9
    assert Endpoint("a").window is None


def test_an_endpoint_is_the_same_whatever_its_model_says_of_itself() -> None:
    model = SimpleNamespace(profile={"max_input_tokens": 5})
    before = Endpoint("a", model)
    model.profile = {"max_input_tokens": 6}
    after = Endpoint("a", model)
    assert before == after
    assert (before.window, after.window) == (5, 6)
    assert "hints" not in repr(before)


@pytest.mark.parametrize(
    "model",
    [
        None,
        object(),
        SimpleNamespace(profile=None),
        SimpleNamespace(profile={}),
        SimpleNamespace(profile="gpt"),
        SimpleNamespace(profile={"max_input_tokens": "many", "image_inputs": None}),
        SimpleNamespace(profile={"max_input_tokens": True, "image_inputs": 0}),
        SimpleNamespace(profile={"max_input_tokens": -1, "image_inputs": True}),
    ],
    ids=lambda model: repr(getattr(model, "profile", type(model).__name__)),
)
def test_nothing_is_made_of_nonsense(model: Any) -> None:
    assert hints_of(model) is NO_HINTS


def test_only_a_plain_no_is_one() -> None:
    profile = {"tool_calling": False, "structured_output": False, "pdf_inputs": False, "video_inputs": True}
    wanted = Hints(None, frozenset({"tools", "structured_output", "pdf"}))
    assert hints_of(SimpleNamespace(profile=profile)) == wanted
