"""Ask an endpoint's embedding model, and judge what comes back: a malformed vector is the endpoint's fault.

A vector of another length, or of another model, is worse than none: it goes into an index and spoils it
without a sound. So whose vectors they are and how long they are is looked at for every answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from langchain_core.embeddings import Embeddings

from langchain_cluster.endpoints.adapter import timeout_of
from langchain_cluster.endpoints.adapters import Adapting
from langchain_cluster.endpoints.caller import judge
from langchain_cluster.endpoints.fingerprint import identity_of, parameters_of
from langchain_cluster.endpoints.malformed import Malformed
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Attempt, Outcome, Usage, Verdict
from langchain_cluster.model.deferred import settled
from langchain_cluster.model.endpoint import Endpoint

_USED: ContextVar[list[int] | None] = ContextVar("langchain_cluster_embedding_tokens", default=None)


@dataclass(slots=True)
class Texts:
    """What an embedding model is asked: the payload of a `Request`.

    Args:
        texts: what to embed. A query is one text.
        query: whether it is a query; many models embed those differently.
        identity: whose vectors are wanted, as `identity_of` names it; None for anybody's.
        dimensions: how long each vector must be; None for as long as that model's were before.
        digests: of each text with all that determines its vector but the model; () if not cacheable.
    """

    texts: list[str]
    query: bool = False
    identity: str | None = None
    dimensions: int | None = None
    digests: tuple[str, ...] = field(default=(), repr=False)


class EmbeddingAdapter:
    """One endpoint's embedding model, made ready to be asked: without retries of its own."""

    __slots__ = ("_original", "_sdk", "_takes_more", "given", "identity", "model", "parameters")

    def __init__(self, endpoint: Endpoint) -> None:
        model = settled(endpoint.model)
        if not isinstance(model, Embeddings):
            kind = type(model).__name__
            raise ConfigError(
                f"its model is a {kind}, not LangChain Embeddings", key=f"endpoint {endpoint.id!r}"
            )
        self.given, self._original = endpoint.model, model
        self.parameters, self.identity = parameters_of(model), identity_of(endpoint)
        openai = any(kind.__name__ == "OpenAIEmbeddings" for kind in type(model).__mro__)
        # Arguments of the SDK, from the version on that hands them to it.
        methods: tuple[Callable[..., Any], ...] = (model.embed_documents, model.embed_query)
        self._takes_more = openai and all(map(_takes_more, methods))
        self._sdk = "openai" if openai else None
        self.model: Embeddings = _metered(model) if openai else model

    def stale(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's model was replaced, or its parameters changed since."""
        return self.given is not endpoint.model or self.parameters != parameters_of(self._original)

    def arguments(self, attempt: Attempt, headers: Mapping[str, str], now: float) -> dict[str, Any]:
        """Keyword arguments for one attempt."""
        if not self._takes_more:
            return {}
        arguments: dict[str, Any] = {"extra_headers": dict(headers)} if headers else {}
        timeout = timeout_of(self._sdk, attempt.limits, now)
        return arguments if timeout is None else {**arguments, "timeout": timeout}


class EmbeddingCaller(Adapting[EmbeddingAdapter]):
    """Asks endpoints whose model is a LangChain `Embeddings`.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now, EmbeddingAdapter)
        self.lengths: dict[str, int] = {}  # of the first vector of each identity

    def call(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """Ask and wait for the vectors; never raises an `Exception`."""
        started = self._now()
        try:
            adapter = self.adapter(attempt.endpoint)
            asked: Texts = attempt.request.payload
            _same_model(asked, adapter)
            arguments = adapter.arguments(attempt, headers, started)
            with _counting() as used:
                if asked.query:
                    vectors: Any = [adapter.model.embed_query(asked.texts[0], **arguments)]
                else:
                    vectors = adapter.model.embed_documents(asked.texts, **arguments)
            return self._answered(vectors, asked, adapter, used, self._now() - started)
        except Exception as error:
            return _judged(error, self._now() - started)

    async def acall(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """The same, awaited."""
        started = self._now()
        try:
            adapter = self.adapter(attempt.endpoint)
            asked: Texts = attempt.request.payload
            _same_model(asked, adapter)
            arguments = adapter.arguments(attempt, headers, started)
            with _counting() as used:
                if asked.query:
                    vectors: Any = [await adapter.model.aembed_query(asked.texts[0], **arguments)]
                else:
                    vectors = await adapter.model.aembed_documents(asked.texts, **arguments)
            return self._answered(vectors, asked, adapter, used, self._now() - started)
        except Exception as error:
            return _judged(error, self._now() - started)

    def _answered(
        self, given: Any, asked: Texts, adapter: EmbeddingAdapter, used: list[int], seconds: float
    ) -> Outcome:
        vectors = checked(given, len(asked.texts))
        length = len(vectors[0])
        # The first vector of a model says how long its vectors are. One step, so no lock.
        wanted = asked.dimensions or self.lengths.setdefault(adapter.identity, length)
        if length != wanted:
            raise _OtherVectors(f"its vectors have {length} dimensions, and those of this model {wanted}")
        usage = Usage(input_tokens=sum(used)) if used else None
        return Outcome(Verdict.OK, seconds, None, usage, vectors)


class _OtherVectors(Malformed):
    """Well made, but not to be mixed with those that are there."""


def _same_model(asked: Texts, adapter: EmbeddingAdapter) -> None:
    if asked.identity is not None and adapter.identity != asked.identity:
        raise _OtherVectors("it is another model than the one whose vectors are asked for")


def _judged(error: Exception, seconds: float) -> Outcome:
    if isinstance(error, _OtherVectors):
        return Outcome.misconfigured(error, seconds=seconds)
    return judge(error, seconds)


def checked(given: Any, count: int) -> list[list[float]]:
    """`given` as `count` lists of floats of one length.

    Raises:
        Malformed: it is not that: too few or too many, empty, of different lengths, NaN, infinite.
    """
    if isinstance(given, str | bytes) or not hasattr(given, "__len__"):
        raise Malformed(f"the answer is a {type(given).__name__}, not a list of vectors")
    if len(given) != count:
        raise Malformed(f"{len(given)} vectors for {count} texts")
    vectors = [_floats(vector, place) for place, vector in enumerate(given)]
    length = len(vectors[0])
    for place, vector in enumerate(vectors):
        if len(vector) != length:
            raise Malformed(
                f"vectors of different lengths in one answer: {length} and, for text {place}, {len(vector)}"
            )
    return vectors


def _floats(given: Any, place: int) -> list[float]:
    if hasattr(given, "tolist"):  # an array of numpy's or the like
        given = given.tolist()
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise Malformed(f"for text {place} there is a {type(given).__name__}, not a vector")
    if not given:
        raise Malformed(f"the vector of text {place} is empty")
    try:
        vector = given if type(given) is list and type(given[0]) is float else [float(x) for x in given]
        total = sum(vector)  # a NaN or an infinity anywhere makes the sum one
    except (TypeError, ValueError):
        raise Malformed(f"the vector of text {place} holds something that is no number") from None
    if not math.isfinite(total):
        raise Malformed(f"the vector of text {place} holds a NaN or an infinity")
    return vector


def _takes_more(method: Callable[..., Any]) -> bool:
    return any(p.kind is Parameter.VAR_KEYWORD for p in signature(method).parameters.values())


@contextmanager
def _counting() -> Iterator[list[int]]:
    """The tokens of what is asked inside, where the client tells them."""
    used: list[int] = []
    token = _USED.set(used)
    try:
        yield used
    finally:
        _USED.reset(token)


class _Metered:
    """An SDK's resource that notes what each answer used, which `Embeddings` has no place for."""

    def __init__(self, resource: Any, *, awaited: bool) -> None:
        self._resource = resource
        self.create = self._acreate if awaited else self._create

    def _create(self, **arguments: Any) -> Any:
        return _noted(self._resource.create(**arguments))

    async def _acreate(self, **arguments: Any) -> Any:
        return _noted(await self._resource.create(**arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resource, name)


def _noted(response: Any) -> Any:
    used, usage = _USED.get(), getattr(response, "usage", None)
    tokens = getattr(usage, "prompt_tokens", None)
    if used is not None and isinstance(tokens, int):
        used.append(tokens)
    return response


def _metered(model: Any) -> Any:
    """A copy that shares the model's connections, asks once and counts."""
    clone = model.model_copy()
    for name, awaited in (("client", False), ("async_client", True)):
        root = getattr(getattr(model, name, None), "_client", None)
        if root is not None:
            setattr(clone, name, _Metered(root.with_options(max_retries=0).embeddings, awaited=awaited))
    return clone
