"""`ClusteredEmbeddings`: LangChain embeddings that are a whole pool of them.

A thin face: it turns texts into requests, has the cluster answer them under the same plan as chats, and
puts the vectors together. Vectors of different models are never mixed unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Self

from langchain_core.embeddings import Embeddings

from langchain_cluster.cluster import Cluster
from langchain_cluster.drive.spread import aspread, spread
from langchain_cluster.endpoints.embedding import Texts
from langchain_cluster.endpoints.vectors import digests_of
from langchain_cluster.errors import ConfigError
from langchain_cluster.faces import a_cluster, a_policy, a_request, listed, policy_of_agent, settings_for
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.endpoint import Endpoint, Role, labels_of
from langchain_cluster.model.policy import Policy

Vectors = list[list[float]]


class ClusteredEmbeddings(Embeddings):
    """Embeddings over many endpoints.

    Args:
        endpoints: who can answer; their models are LangChain `Embeddings`.
        cluster: a running cluster to share, instead of endpoints: its pool, breakers, cache and events.
        policy: what a call may cost in tries and time. A list of texts has one `timeout`, however many
            calls are made of it.
        cache: a `CacheStore`, True for a `MemoryCache()`, None or False for none. Each text is kept by
            itself, in float32.
        batch_size: texts per call, >= 1; a longer list becomes several calls, spread over the pool. None:
            one call.
        max_concurrency: how many of those calls are made at once, >= 1.
        dimensions: how long every vector must be; None: as long as the first one that comes.
        tags, tier: which endpoints of the pool are meant, where others embed too.
        mixed_models: True lets endpoints of different models answer for each other, though their vectors
            cannot be compared.
        timeout: seconds; short for `policy.timeout`. max_retries: short for `policy.attempts - 1`.
        agent: whose view this is; see `for_agent`.
        **options: `balancer`, `discovery`, `agents`, `breaker`, `outlier`, `slow_start`, `health`,
            `drain_timeout`, `clock`, `seed`, `tracing` of `Cluster`.

    Raises:
        ConfigError: something given is not valid, nobody embeds, or endpoints are of different models.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        *,
        cluster: Cluster | None = None,
        policy: Policy | Mapping[str, Any] | None = None,
        cache: Any = None,
        batch_size: int | None = None,
        max_concurrency: int = 8,
        dimensions: int | None = None,
        tags: Iterable[str] = (),
        tier: str | None = None,
        mixed_models: bool = False,
        timeout: float | None = None,
        max_retries: int | None = None,
        agent: str | None = None,
        **options: Any,
    ) -> None:
        own = a_policy(policy, timeout, max_retries)
        for name, value in (
            ("batch_size", batch_size), ("max_concurrency", max_concurrency), ("dimensions", dimensions)
        ):  # fmt: skip
            optional = name != "max_concurrency"
            if not (optional and value is None) and (type(value) is not int or value < 1):
                raise ConfigError(f"{value!r} is not an integer >= 1", key=f"{type(self).__name__}.{name}")
        shared = cluster is not None
        self.cluster = a_cluster(type(self).__name__, Role.EMBEDDING, endpoints, cluster, own, cache, options)
        self.policy = own if shared else None  # else it is the cluster's: the agents' come before it
        self.batch_size, self.max_concurrency = batch_size, max_concurrency
        self.dimensions, self.mixed_models = dimensions, mixed_models
        self.agent = agent
        meant = {"tags": tuple(labels_of(tags, type(self).__name__, "tags")), "tier": tier}
        self._settings: dict[str, Any] = {name: value for name, value in meant.items() if value}
        self._config: Any = None
        self._pinned: dict[tuple[Any, ...], str] = {}  # whose vectors this pool gives, by who may answer
        self._one_model(a_request(Role.EMBEDDING, None, settings_for({}, self._settings), agent))

    @classmethod
    def from_config(cls, source: Any, **arguments: Any) -> Self:
        """Embeddings from a YAML, TOML or JSON file, a mapping or a `ClusterConfig`.

        Args:
            source: a config. Where no endpoint in it says that it embeds, those that say nothing do.
            **arguments: `batch_size`, `max_concurrency`, `dimensions`, `tags`, `tier`, `mixed_models`,
                `agent`.

        Raises:
            ConfigError: the file cannot be read, or says something that is not valid.
        """
        from langchain_cluster.config.build import cluster_arguments
        from langchain_cluster.config.load import load

        config = load(source)
        made = cls(cluster=Cluster(**cluster_arguments(config, Role.EMBEDDING)), **arguments)
        made._config = (config, arguments)
        return made

    # -- views --------------------------------------------------------------------------------------

    def for_agent(self, agent: str, **overrides: Any) -> Self:
        """A light view for one agent: the same pool, its own name, and its policy with `overrides`."""
        view = copy(self)
        view.agent = agent
        view.policy = policy_of_agent(self.cluster, agent, self.policy, overrides)
        return view

    def with_policy(self, **overrides: Any) -> Self:
        """A light view whose policy has these values changed. Raises ConfigError."""
        view = copy(self)
        view.policy = (self.policy or self.cluster.policy_for(self.agent)).but(**overrides)
        return view

    def with_settings(self, **settings: Any) -> Self:
        """A light view whose calls are told what `configurable.cluster` tells a chat's.

        LangChain's `Embeddings` take no config. What the run they are called in was told counts for
        them too, and this comes before it.

        Args:
            **settings: `policy`, `key`, `tenant`, `tier`, `timeout`, `priority`, `cache`, `tags`, `zone`.

        Raises:
            ConfigError: an unknown name, or a value of the wrong type.
        """
        view = copy(self)
        view._settings = {**self._settings, **settings}
        settings_for({}, view._settings).over(Policy())
        return view

    # -- the faces ----------------------------------------------------------------------------------

    def embed_documents(self, texts: list[str]) -> Vectors:
        """One vector per text, in order; all of them or an error."""
        if not (texts := listed(texts)):
            return []
        began, cluster = self.cluster.clock.now(), self.cluster
        if not len(cluster.pool):  # whose vectors are wanted shows when somebody has been discovered
            cluster.wait_ready(self._patience)
        work = _Work(self, texts, query=False)
        calls = [partial(cluster.complete, request, work.policy, began) for request in work.requests]
        if len(calls) == 1:
            return work.together([calls[0]()])
        answers = spread(
            calls, at_once=self.max_concurrency, workers=cluster.blocking.workers, clock=cluster.clock
        )
        return work.together(answers)

    async def aembed_documents(self, texts: list[str]) -> Vectors:
        """The same, awaited."""
        if not (texts := listed(texts)):
            return []
        began, cluster = self.cluster.clock.now(), self.cluster
        if not len(cluster.pool):
            await cluster.await_ready(self._patience)
        work = _Work(self, texts, query=False)
        calls = [partial(cluster.acomplete, request, work.policy, began) for request in work.requests]
        if len(calls) == 1:
            return work.together([await calls[0]()])
        return work.together(await aspread(calls, at_once=self.max_concurrency))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        if not len(self.cluster.pool):
            self.cluster.wait_ready(self._patience)
        work = _Work(self, [text], query=True)
        return work.together([self.cluster.complete(work.requests[0], work.policy)])[0]

    async def aembed_query(self, text: str) -> list[float]:
        """The same, awaited."""
        if not len(self.cluster.pool):
            await self.cluster.await_ready(self._patience)
        work = _Work(self, [text], query=True)
        return work.together([await self.cluster.acomplete(work.requests[0], work.policy)])[0]

    # -- whose vectors ------------------------------------------------------------------------------

    @property
    def _patience(self) -> float | None:
        return (self.policy or self.cluster.policy_for(self.agent)).timeout

    def _one_model(self, request: Request) -> str | None:
        """Whose vectors `request` is for; None when it does not matter, or nobody is there yet.

        What it was at first it stays: an endpoint of another model that joins later gives no vectors.

        Raises:
            ConfigError: those who may answer at first are of different models.
        """
        if self.mixed_models:
            models = self.cluster.models.identities(request)
            return models[0] if len(models) == 1 else None
        may = (request.tags, request.tier, request.model)
        pinned = self._pinned.get(may)
        if pinned is not None:
            return pinned
        models = self.cluster.models.identities(request)
        if len(models) > 1:
            told = _DIFFERENT.format(", ".join(map(_short, models)))
            raise ConfigError(told, key=f"{type(self).__name__}.endpoints")
        return self._pinned.setdefault(may, models[0]) if models else None

    def __reduce__(self) -> Any:
        if self._config is None:
            raise TypeError(
                "ClusteredEmbeddings hold live connections and cannot be pickled;"
                " those built with ClusteredEmbeddings.from_config can: they are rebuilt from their config"
            )
        config, arguments = self._config
        own = {name: getattr(self, name) for name in ("agent", "policy", "_settings")}
        # Only what was written: an endpoint that said nothing of its role must say nothing again.
        return _rebuild, (config.model_dump(mode="json", exclude_unset=True), arguments, own)

    def __copy__(self) -> Self:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        return view

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy(self)  # the cluster behind it is one running thing

    def __repr__(self) -> str:
        ids = [m.endpoint.id for m in self.cluster.pool if Role.EMBEDDING in m.endpoint.roles]
        shown = ", ".join(ids[:5]) + (f", and {len(ids) - 5} more" if len(ids) > 5 else "")
        agent = f", agent={self.agent!r}" if self.agent else ""
        return f"{type(self).__name__}([{shown}], balancer={self.cluster.pool.balancer.name!r}{agent})"


class _Work:
    """One list of texts: the requests it is made of, and how their answers become one."""

    def __init__(self, face: ClusteredEmbeddings, texts: Sequence[str], *, query: bool) -> None:
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text {place} is a {type(text).__name__}, not a str")
        settings = settings_for(None, face._settings)
        agent = face.agent or settings.agent
        self.policy = settings.over(face.policy or face.cluster.policy_for(agent))
        asked = Texts([], query, dimensions=face.dimensions)
        request = a_request(Role.EMBEDDING, asked, settings, agent)
        asked.identity = face._one_model(request)
        cached = face.cluster.keys is not None and self.policy.cache is not False
        self._of: list[int] | None = None  # the place of each text's vector, where equal ones are asked once
        unique = list(texts)
        if cached and len(texts) > 1:
            unique = list(dict.fromkeys(texts))
            if len(unique) < len(texts):
                places = {text: place for place, text in enumerate(unique)}
                self._of = [places[text] for text in texts]
        size = face.batch_size or len(unique)
        chunks = [unique[start : start + size] for start in range(0, len(unique), size)]
        self.requests = [
            replace(
                request,
                payload=replace(asked, texts=chunk, digests=digests_of(chunk, query=query) if cached else ()),
            )
            for chunk in chunks
        ]

    def together(self, answers: Sequence[Answer]) -> Vectors:
        """The vectors of all answers, one per text, each the caller's own."""
        vectors: Vectors = [vector for answer in answers for vector in answer.value]
        if self._of is None:
            return vectors
        return [list(vectors[place]) for place in self._of]


_DIFFERENT = (
    "the endpoints are of different models ({}), and the vectors of one cannot be compared with those of"
    " another: give endpoints of one model, or the same identity= to those that are one; say which are"
    " meant by tags= or tier=; or allow it with mixed_models=True"
)


def _short(identity: str) -> str:
    return identity if len(identity) <= 80 else f"{identity[:77]}..."


def _rebuild(config: dict[str, Any], arguments: dict[str, Any], own: dict[str, Any]) -> ClusteredEmbeddings:
    made = ClusteredEmbeddings.from_config(config, **arguments)
    made.__dict__.update(own)
    return made
