"""Which Runnables may answer for each other: those that are made alike, and no others."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import PydanticOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from langchain_cluster.endpoints import identity
from langchain_cluster.endpoints.identity import Identity, settings_in
from langchain_cluster.testing import ScriptedModel


def of(runnable: Any) -> str:
    return Identity(runnable).now()


def upper(text: str) -> str:
    return text.upper() if text in {"a", "b", "c"} else text


def lower(text: str) -> str:
    return text.lower() if text in {"a", "b", "c"} else text


class Index(BaseRetriever):
    """A retriever that is all it says."""

    documents: list[Document] = []
    k: int = 4
    key: SecretStr = SecretStr("x")

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return self.documents[: self.k]


class One(BaseModel):
    name: str


class Two(BaseModel):
    name: int


def prompt(text: str) -> Any:
    return ChatPromptTemplate.from_messages([("human", text)])


def adding(number: int) -> Any:
    return RunnableLambda(lambda x: x + number)


def holding(thing: Any) -> Any:
    return RunnableLambda(lambda x: thing)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RunnableLambda(upper),
        lambda: RunnableLambda(upper).with_config(tags=["x"], run_name="other"),
        lambda: prompt("{q}") | RunnableLambda(upper) | StrOutputParser(),
        lambda: RunnableParallel(a=upper, b=RunnableLambda(lower)),
        lambda: adding(3),
        lambda: Index(documents=[Document("x")]),
        lambda: PydanticOutputParser(pydantic_object=One),
        lambda: tool("up", description="up")(upper),
        lambda: ScriptedModel("a", temperature=0).bind(stop=["x"]),
    ],
)
def test_two_that_are_made_alike_are_one(make: Any) -> None:
    assert of(make()) == of(make())


def test_secrets_run_names_and_tags_do_not_count() -> None:
    assert of(Index(key="one")) == of(Index(key="two", tags=["x"]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RunnableLambda(upper), RunnableLambda(lower)),
        (RunnableLambda(lambda x: x + 1), RunnableLambda(lambda x: x + 2)),
        (RunnableLambda(lambda x, n=1: x), RunnableLambda(lambda x, n=2: x)),
        (adding(3), adding(4)),
        (prompt("{q}"), prompt("{q}!")),
        (prompt("{q}") | StrOutputParser(), prompt("{q}") | RunnableLambda(upper)),
        (RunnableParallel(a=upper, b=lower), RunnableParallel(b=upper, a=lower)),
        (Index(documents=[Document("x")]), Index(documents=[Document("y")])),
        (Index(k=1), Index(k=2)),
        (PydanticOutputParser(pydantic_object=One), PydanticOutputParser(pydantic_object=Two)),
        (ScriptedModel("a").bind(stop=["x"]), ScriptedModel("a").bind(stop=["y"])),
        (ScriptedModel("a").bind(stop=["x"]), ScriptedModel("a")),
        (holding(object()), holding(object())),
        (holding([1]), holding([1])),
        (RunnableLambda(partial(upper)), RunnableLambda(partial(upper))),
    ],
)
def test_two_that_differ_are_two(one: Any, other: Any) -> None:
    assert of(one) != of(other)
    assert of(one) == of(one)


def test_what_holds_something_alive_is_known_by_that_object() -> None:
    found: list[Any] = []

    def search(q: str) -> int:
        found.append(q)
        return len(found)

    first = of(RunnableLambda(search))
    found.append("more")
    assert of(RunnableLambda(search)) == first


def test_two_methods_of_one_object_are_two() -> None:
    class Shop:
        def search(self, q: str) -> str:
            return q

        def buy(self, q: str) -> str:
            return q

    shop = Shop()
    assert of(RunnableLambda(shop.search)) == of(RunnableLambda(shop.search))
    assert of(RunnableLambda(shop.search)) != of(RunnableLambda(shop.buy))
    assert of(RunnableLambda(shop.search)) != of(RunnableLambda(Shop().search))


def test_the_name_of_an_object_goes_with_it() -> None:
    step = holding([1])
    of(step)
    number = next(number for number, (thing, _) in identity._alive.items() if thing() is step.func)
    del step
    gc.collect()
    assert number not in identity._alive


def test_what_a_function_does_not_have_yet_does_not_matter() -> None:
    def recursive(n: int) -> int:
        return later(n) if n else recursive(n - 1)

    assert of(RunnableLambda(recursive)) == of(RunnableLambda(recursive))

    def later(n: int) -> int:
        return n


def test_a_parameter_that_is_changed_changes_it() -> None:
    index = Index()
    known = Identity(prompt("{q}") | index)
    before = known.now()
    index.k = 5
    assert known.now() != before
    index.k = 4
    assert known.now() == before


PROGRAM = """
from tests.endpoints import test_identity as t
for step in (t.prompt("{q}") | t.RunnableLambda(t.upper), t.Index(documents=[t.Document("x")]), t.adding(3)):
    print(t.of(step))
"""


def test_another_process_knows_it_by_the_same_name() -> None:
    other = {**os.environ, "PYTHONHASHSEED": "7"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=other
    )
    here = (prompt("{q}") | RunnableLambda(upper), Index(documents=[Document("x")]), adding(3))
    assert ran.stdout.split() == [of(step) for step in here]


def test_which_settings_count() -> None:
    given = {"user": "ann", "thread_id": "1", "cluster": {}, "__pregel": 1, "checkpoint_ns": "x"}
    assert settings_in(given, frozenset()) == {"user": "ann"}
    assert settings_in(given, frozenset({"thread_id"})) == {"user": "ann", "thread_id": "1"}
