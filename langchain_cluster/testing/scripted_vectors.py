"""Embeddings and a retriever that answer from a script: for tests and docs, without a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import BaseModel, Field, PrivateAttr

from langchain_cluster.testing.simulated.embeddings import vector


class ScriptedEmbeddings(BaseModel, Embeddings):
    """Plays its script, one step per call; the last step is repeated for ever.

    A step is "ok" (a vector per text that is a function of the text alone), an exception (raised), a
    list (the answer, whatever is in it), or a callable of the texts that returns one of these. Of a
    query's answer the first vector counts.

    Args:
        *script: the steps; none answers "ok".
        model: its name, for traces and cache keys. size: length of the vectors.
        delay: seconds before every answer.
    """

    script: list[Any] = Field(default_factory=list)
    model: str = "scripted"
    size: int = 8
    delay: float = 0.0
    _lock: Any = PrivateAttr(default_factory=Lock)
    _calls: list[list[str]] = PrivateAttr(default_factory=list)

    def __init__(self, *script: Any, **fields: Any) -> None:
        super().__init__(**{"script": list(script) or ["ok"], **fields})

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self._calls)

    @property
    def asked(self) -> list[list[str]]:
        """The texts it was asked for, in order."""
        return list(self._calls)

    def _play(self, texts: list[str]) -> Any:
        step = _step(self, self._calls, texts)
        if step == "ok":
            return [vector(text.lower().split(), self.size).tolist() for text in texts]
        return step

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """What the script says."""
        if self.delay:
            time.sleep(self.delay)
        answer: list[list[float]] = self._play(texts)
        return answer

    def embed_query(self, text: str) -> list[float]:
        """What the script says."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """What the script says, awaited."""
        if self.delay:
            await asyncio.sleep(self.delay)
        answer: list[list[float]] = self._play(texts)
        return answer

    async def aembed_query(self, text: str) -> list[float]:
        """What the script says, awaited."""
        return (await self.aembed_documents([text]))[0]

    def __repr__(self) -> str:
        return f"ScriptedEmbeddings({self.model!r}, {len(self.script)} steps, {self.calls} calls)"


class ScriptedRetriever(BaseRetriever):
    """Plays its script, one step per call; the last step is repeated for ever.

    A step is a text (the only document), an exception (raised), a list of texts and documents, or a
    callable of the query that returns one of these.

    Args:
        *script: the steps; none answers "ok".
        k: documents at most, unless the call has a `k` of its own. delay: seconds before every answer.
    """

    script: list[Any] = Field(default_factory=list)
    k: int | None = None
    delay: float = 0.0
    _lock: Any = PrivateAttr(default_factory=Lock)
    _calls: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, *script: Any, **fields: Any) -> None:
        super().__init__(**{"script": list(script) or ["ok"], **fields})

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self._calls)

    @property
    def asked(self) -> list[str]:
        """What it was asked, in order."""
        return list(self._calls)

    def _play(self, query: str, k: int | None) -> Any:
        step = _step(self, self._calls, query)
        if not isinstance(step, list | str):
            return step
        found = [step] if isinstance(step, str) else step
        documents = [Document(page_content=one) if isinstance(one, str) else one for one in found]
        return documents[: self.k if k is None else k]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        if self.delay:
            time.sleep(self.delay)
        answer: list[Document] = self._play(query, k)
        return answer

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        if self.delay:
            await asyncio.sleep(self.delay)
        answer: list[Document] = self._play(query, k)
        return answer

    def __repr__(self) -> str:
        return f"ScriptedRetriever({len(self.script)} steps, {self.calls} calls)"


def _step(player: Any, calls: list[Any], asked: Any) -> Any:
    with player._lock:
        step = player.script[min(len(calls), len(player.script) - 1)]
        calls.append(asked)
    while callable(step) and not isinstance(step, type | BaseException):
        act: Callable[[Any], Any] = step
        step = act(asked)
    if isinstance(step, BaseException | type):
        raise step
    return step
