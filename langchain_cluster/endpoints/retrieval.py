"""Ask an endpoint's retriever, and judge what comes back.

A `BaseRetriever` is asked through `_get_relevant_documents`, never through its `invoke`: that would open
a second run. What it asks itself, such as a chat model that rewrites the query, is a child of our run.
Any other Runnable is invoked as a child of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from math import isfinite
from typing import Any

import orjson
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseLanguageModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig

from langchain_cluster.endpoints.adapters import Adapting
from langchain_cluster.endpoints.caller import judge
from langchain_cluster.endpoints.fingerprint import parameters_of
from langchain_cluster.endpoints.malformed import Malformed
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Attempt, Outcome, Verdict
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.label import unlabelled

_VERSION = b"D\x01"


@dataclass(slots=True)
class Query:
    """What a retriever is asked: the payload of a `Request`.

    Args:
        text: the query. arguments: further ones of the call, such as `k`, for those that take them.
        run: LangChain's run manager, of the colour of the call.
    """

    text: str
    arguments: dict[str, Any] = field(default_factory=dict)
    run: Any = field(default=None, repr=False)


class RetrieverAdapter:
    """One endpoint's retriever, made ready to be asked: unwrapped."""

    __slots__ = ("_takes", "_takes_arguments", "bound", "given", "model", "parameters")

    def __init__(self, endpoint: Endpoint) -> None:
        model: Any = endpoint.model
        self.given = model
        self.bound: dict[str, Any] = {}
        while isinstance(model, RunnableBinding):
            self.bound = {**model.kwargs, **self.bound}  # the outer binding was made later, and wins
            model = model.bound
        if not isinstance(model, Runnable) or isinstance(model, BaseLanguageModel):
            kind = type(model).__name__
            raise ConfigError(
                f"its model is a {kind}, not a LangChain retriever or a Runnable that finds documents",
                key=f"endpoint {endpoint.id!r}",
            )
        self.model, self.parameters = model, parameters_of(model)
        self._takes_arguments = getattr(model, "_expects_other_args", False)
        self._takes = (
            "run_manager" in signature(model._aget_relevant_documents).parameters
            if isinstance(model, BaseRetriever)
            else False
        )

    def stale(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's model was replaced, or its parameters changed since."""
        return self.given is not endpoint.model or self.parameters != parameters_of(self.model)

    def find(self, asked: Query) -> Any:
        """What the retriever answers."""
        run = asked.run or CallbackManagerForRetrieverRun.get_noop_manager()
        if not isinstance(self.model, BaseRetriever):
            config: RunnableConfig = {"callbacks": run.get_child()}
            return self.model.invoke(asked.text, config, **self.bound, **asked.arguments)
        arguments = self._arguments(asked)
        if self.model._new_arg_supported:
            arguments["run_manager"] = run
        return self.model._get_relevant_documents(asked.text, **arguments)

    async def afind(self, asked: Query) -> Any:
        """The same, awaited."""
        run = asked.run or AsyncCallbackManagerForRetrieverRun.get_noop_manager()
        if not isinstance(self.model, BaseRetriever):
            config: RunnableConfig = {"callbacks": run.get_child()}
            return await self.model.ainvoke(asked.text, config, **self.bound, **asked.arguments)
        arguments = self._arguments(asked)
        if self._takes:
            arguments["run_manager"] = run
        return await self.model._aget_relevant_documents(asked.text, **arguments)

    def _arguments(self, asked: Query) -> dict[str, Any]:
        """As `BaseRetriever.invoke` hands them on: to those that take any."""
        return {**self.bound, **asked.arguments} if self._takes_arguments else {}


class RetrievalCaller(Adapting[RetrieverAdapter]):
    """Asks endpoints whose model is a retriever.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now, RetrieverAdapter)

    def call(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """Ask and wait for the documents; never raises an `Exception`."""
        started = self._now()
        try:
            found = self.adapter(attempt.endpoint).find(attempt.request.payload)
            return _answered(found, self._now() - started)
        except Exception as error:
            return judge(error, self._now() - started)

    async def acall(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """The same, awaited."""
        started = self._now()
        try:
            found = await self.adapter(attempt.endpoint).afind(attempt.request.payload)
            return _answered(found, self._now() - started)
        except Exception as error:
            return judge(error, self._now() - started)


def _answered(found: Any, seconds: float) -> Outcome:
    if not isinstance(found, list | tuple):
        return judge(Malformed(f"the answer is a {type(found).__name__}, not a list of documents"), seconds)
    for place, document in enumerate(found):
        if not isinstance(document, Document):
            kind = type(document).__name__
            return judge(Malformed(f"result {place} is a {kind}, not a Document"), seconds)
    # Nothing found may be an index that is still being built: not to be kept.
    return Outcome(Verdict.OK, seconds, value=list(found), storable=bool(found))


class DocumentsCodec:
    """Encodes a list of `Document`; decodes to a list of the reader's own. JSON under a version."""

    def encode(self, value: list[Document]) -> bytes:
        """Bytes of documents. Raises TypeError for metadata that would not come back as it was."""
        for document in value:
            if type(document) is not Document:
                raise TypeError(f"a {type(document).__name__} is no plain Document")
            _plain(document.metadata)
        return _VERSION + orjson.dumps([[d.page_content, d.metadata, d.id] for d in value])

    def decode(self, raw: bytes) -> list[Document]:
        """Fresh documents. Raises ValueError for bytes that were not written by `encode`."""
        raw = unlabelled(raw)
        if raw[:2] != _VERSION:
            raise ValueError("not documents, or those of another version")
        try:
            read = orjson.loads(memoryview(raw)[2:])
            return [Document(page_content=text, metadata=metadata, id=id) for text, metadata, id in read]
        except TypeError as error:  # pydantic's own refusal is a ValueError already
            raise ValueError("not documents") from error


def _plain(value: Any) -> None:
    kind = type(value)
    if kind is dict:
        for key, inner in value.items():
            if type(key) is not str:
                raise TypeError("metadata with a key that is no text")
            _plain(inner)
    elif kind is list:
        for inner in value:
            _plain(inner)
    elif not (value is None or kind in (str, int, bool) or (kind is float and isfinite(value))):
        raise TypeError(f"metadata with a {kind.__name__}, which JSON does not give back")
