"""`ClusteredLLM`: a LangChain chat model that is a whole pool of them.

A thin face: it turns messages and a `RunnableConfig` into a `Request`, has the cluster answer it, and
hands the answer on the way `BaseChatModel` wants it. Endpoints are asked through `_generate` and its
siblings, never through `invoke`, so a call is one run, counted once.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from os import urandom
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManager, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from pydantic import ConfigDict, Field, ValidationError

from langchain_cluster.cluster import Cluster
from langchain_cluster.endpoints.answer import Ending, as_message, as_result
from langchain_cluster.endpoints.caller import Question
from langchain_cluster.endpoints.profile import common_profile
from langchain_cluster.endpoints.request import arguments_of, request_of
from langchain_cluster.endpoints.run import StreamRun
from langchain_cluster.endpoints.settings import SCOPE, Scope, settings_of
from langchain_cluster.endpoints.structured import ClusteredBinding, bound_tools, structured
from langchain_cluster.errors import ConfigError
from langchain_cluster.faces import OWN_OPTIONS as _OWN_OPTIONS
from langchain_cluster.faces import a_policy, a_store, nothing_beside, policy_of_agent, somebody
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.policy import Policy
from langchain_cluster.model.strict import explain


class ClusteredLLM(BaseChatModel):
    """A chat model over many endpoints.

    Args:
        endpoints: who can answer.
        policy: what a call may cost in tries and time.
        cache: a `CacheStore` such as `MemoryCache()`, True for one of those, None or False for none.
        temperature, max_tokens, stop_sequences: sent with every call, like any chat model's.
        streaming: True has `invoke` ask for a stream, False has `stream` ask for a whole answer.
        timeout: seconds; short for `policy.timeout`. max_retries: short for `policy.attempts - 1`.
        api_key: taken, since every chat model has one, and not used: it warns.
        agent: whose view this is; see `for_agent`.
        **options: what `Cluster` takes (`balancer`, `discovery`, `breaker`, `agents`, ...: it says which),
            and what every chat model takes (`callbacks`, `tags`, ...).

    Raises:
        ConfigError: something given is not valid; it says where, what, and what would be.
    """

    # By name as well: `configurable_fields` rebuilds a model from the names of its fields.
    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=(), populate_by_name=True)

    cluster: Any = Field(default=None, exclude=True, repr=False)
    """The running `Cluster`; shared by every copy and view of this model."""
    policy: Policy | None = Field(default=None, exclude=True)
    agent: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = Field(default=None, alias="stop")
    streaming: bool | None = None
    config_source: Any = Field(default=None, exclude=True, repr=False)

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        *,
        cluster: Cluster | None = None,
        policy: Policy | Mapping[str, Any] | None = None,
        cache: Any = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        api_key: Any = None,
        **options: Any,
    ) -> None:
        if api_key is not None:
            warnings.warn(
                "api_key is not used by ClusteredLLM: the model of each endpoint has its own", stacklevel=2
            )
        policy = a_policy(policy, timeout, max_retries)
        if cluster is None:
            own = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
            self._no_unknown(options)
            cluster = Cluster(endpoints, policy=policy, cache=a_store(cache), **own)
            somebody("ClusteredLLM", Role.LLM, cluster)
            policy = None  # it is the cluster's: the agents' policies come before it
        else:
            # LangChain rebuilds a model from its fields, and then says `cache=False` beside the cluster.
            own = {name: None for name in options if name in _OWN_OPTIONS}
            nothing_beside("ClusteredLLM", cluster, endpoints, None if cache is False else cache, own)
            self._no_unknown(options)
        # LangChain's own cache stays off: streams skip it, and its objects can be changed by whoever
        # was handed one. The cluster's cache answers instead.
        try:
            super().__init__(cluster=cluster, policy=policy, cache=False, **options)
        except ValidationError as error:
            raise explain(error, type(self)) from None

    @classmethod
    def _no_unknown(cls, options: Mapping[str, Any]) -> None:
        fields = {f.alias or name for name, f in cls.model_fields.items()} | set(cls.model_fields)
        for name in options:
            if name not in fields:
                valid = sorted(
                    (fields | set(_OWN_OPTIONS) | {"endpoints", "timeout", "max_retries"}) - _HIDDEN
                )
                raise ConfigError(f"unknown argument {name!r}", key="ClusteredLLM", valid=valid, got=name)

    @classmethod
    def from_config(cls, source: Any) -> Self:
        """A model from a YAML, TOML or JSON file, a mapping or a `ClusterConfig`.

        Raises:
            ConfigError: the file cannot be read, or says something that is not valid.
        """
        from langchain_cluster.config.build import cluster_arguments
        from langchain_cluster.config.load import load

        config = load(source)
        return cls(cluster=Cluster(**cluster_arguments(config)), config_source=config)

    def for_agent(self, agent: str, **overrides: Any) -> Self:
        """A light view for one agent: the same pool, its own name, and its policy with `overrides`."""
        policy = policy_of_agent(self.cluster, agent, self.policy, overrides)
        return self.model_copy(update={"agent": agent, "policy": policy})

    # -- the faces ----------------------------------------------------------------------------------

    def invoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """A whole answer. See `BaseChatModel.invoke`."""
        config = ensure_config(config)
        scope = Scope(settings_of(config))
        if SCOPE not in kwargs and (messages := self._unwatched(input, config)) is not None:
            request, policy = self._request(messages, stop, kwargs, scope)
            answer = self.cluster.complete(request, policy)
            return as_message(answer, _run_id(config))
        scope.run = StreamRun(config, self.callbacks)  # whoever watches may have it streamed
        try:
            return super().invoke(input, config, stop=stop, **{SCOPE: scope, **kwargs})
        finally:
            scope.close()

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """A whole answer, awaited. See `BaseChatModel.ainvoke`."""
        config = ensure_config(config)
        scope = Scope(settings_of(config))
        if SCOPE not in kwargs and (messages := self._unwatched(input, config)) is not None:
            request, policy = self._request(messages, stop, kwargs, scope)
            answer = await self.cluster.acomplete(request, policy)
            return as_message(answer, _run_id(config))
        scope.run = StreamRun(config, self.callbacks)
        try:
            return await super().ainvoke(input, config, stop=stop, **{SCOPE: scope, **kwargs})
        finally:
            await scope.aclose()

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """An answer in chunks. See `BaseChatModel.stream`."""
        config = ensure_config(config)
        scope = Scope(settings_of(config), StreamRun(config, self.callbacks))
        try:
            yield from super().stream(input, config, stop=stop, **{SCOPE: scope, **kwargs})
        finally:
            scope.close()

    async def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """An answer in chunks, awaited. See `BaseChatModel.astream`."""
        config = ensure_config(config)
        scope = Scope(settings_of(config), StreamRun(config, self.callbacks))
        chunks: Any = super().astream(input, config, stop=stop, **{SCOPE: scope, **kwargs})
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
        finally:
            await scope.aclose()

    def stream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Events of a streamed answer. See `BaseChatModel.stream_events`."""
        if kwargs.get("version") == "v3":  # the one version that does not come by `stream`
            config = ensure_config(config)
            kwargs[SCOPE] = Scope(settings_of(config))
        return super().stream_events(input, config, **kwargs)

    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Events of a streamed answer, awaited. See `BaseChatModel.astream_events`."""
        if kwargs.get("version") == "v3":
            config = ensure_config(config)
            kwargs[SCOPE] = Scope(settings_of(config))
        return super().astream_events(input, config, **kwargs)

    def cache_keys(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Under which keys the answer to such a call may be kept; () where it is not.

        One per distinct model in the pool that may answer it.
        """
        messages = self._convert_input(input).to_messages()
        request, policy = self._request(messages, stop, kwargs, Scope(settings_of(ensure_config(config))))
        if self.cluster.keys is None or policy.cache is False:
            return ()
        keys: tuple[str, ...] = self.cluster.keys.all(request)
        return keys

    # -- what BaseChatModel asks for ----------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request, policy = self._request(messages, stop, kwargs, self._scope(kwargs), run_manager)
        return as_result(self.cluster.complete(request, policy))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request, policy = self._request(messages, stop, kwargs, self._scope(kwargs), run_manager)
        return as_result(await self.cluster.acomplete(request, policy))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        scope = self._scope(kwargs)
        request, policy = self._request(messages, stop, kwargs, scope, run_manager)
        items = self.cluster.relay(request, policy)
        scope.streams.append(items)
        ending = Ending()
        for item in items:
            for chunk in ending.follow(item):
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        scope = self._scope(kwargs)
        request, policy = self._request(messages, stop, kwargs, scope, run_manager)
        items: AsyncGenerator[Any, None] = self.cluster.arelay(request, policy)
        scope.streams.append(items)
        ending = Ending()
        async with aclosing(items):
            async for item in items:
                for chunk in ending.follow(item):
                    if run_manager is not None:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    # LangChain looks the signature up on every call; working it out costs more than balancing does.
    _generate.__signature__ = inspect.signature(_generate)  # type: ignore[attr-defined]
    _agenerate.__signature__ = inspect.signature(_agenerate)  # type: ignore[attr-defined]

    # -- a call -------------------------------------------------------------------------------------

    @staticmethod
    def _scope(kwargs: dict[str, Any]) -> Scope:
        scope = kwargs.pop(SCOPE, None)
        # Called without one of our faces (`generate`, a model inside a model): context variables tell.
        return scope if scope is not None else Scope(settings_of(ensure_config(None)))

    def _request(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
        scope: Scope,
        run: Any = None,
    ) -> tuple[Request, Policy]:
        settings = scope.settings
        agent = self.agent or settings.agent
        policy = settings.over(self.policy or self.cluster.policy_for(agent))
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        arguments = arguments_of(kwargs, {name: value for name, value in own.items() if value is not None})
        request = request_of(
            Question(
                messages, stop if stop is not None else self.stop_sequences, arguments, run or scope.run
            ),
            settings,
            agent,
            policy,
            self.cluster,
        )
        return request, policy

    def _unwatched(self, input: Any, config: RunnableConfig) -> list[BaseMessage] | None:
        """The messages, when nobody watches the run and `BaseChatModel` would add nothing; else None."""
        if self.rate_limiter is not None or self.output_version is not None or self.cache is not False:
            return None
        if self.streaming:
            return None
        if config.get("callbacks") or self.callbacks:
            return None
        if CallbackManager.configure(None, None, self.verbose).handlers:  # tracers, debug, usage hooks
            return None
        messages = self._convert_input(input).to_messages()
        # Content in blocks is normalised by BaseChatModel, plain text needs nothing.
        return messages if all(isinstance(m.content, str) for m in messages) else None

    # -- tools and structured output ----------------------------------------------------------------

    def bind(self, **kwargs: Any) -> ClusteredBinding:
        """This model with arguments for every call."""
        return ClusteredBinding(bound=self, kwargs=kwargs, config={})

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> ClusteredBinding:
        """This model with a config for every call."""
        merged: Any = {**(config or {}), **kwargs}
        return ClusteredBinding(bound=self, kwargs={}, config=merged)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any],
        *,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:
        """This model with tools, in the spelling of whichever endpoint answers.

        Args:
            tools: tools, functions, pydantic classes or schemas.
            tool_choice: a tool's name, "any", "auto", "none" or a provider's own form.
        """
        return self.bind(**bound_tools(tools, tool_choice, kwargs))

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: Literal["function_calling", "json_schema", "json_mode"] = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, Any]:
        """This model, answering with an instance of `schema`.

        Args:
            schema: a pydantic class, a TypedDict or a JSON schema.
            method: by a tool call, by the provider's schema-bound output, or by its JSON mode.
            include_raw: hand out `{"raw", "parsed", "parsing_error"}` and never raise for a bad answer.
            strict: have the provider enforce the schema, where it can.
        """
        return structured(self, schema, method=method, include_raw=include_raw, strict=strict, further=kwargs)

    # -- identity -----------------------------------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "langchain-cluster"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "endpoints": [m.endpoint.id for m in self.cluster.pool],
            "balancer": self.cluster.pool.balancer.name,
            "agent": self.agent,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    @property
    def _serialized(self) -> dict[str, Any]:
        # Names only, built in place: the inherited one walks the model and is kept by `model_copy`.
        return {
            "lc": 1,
            "type": "not_implemented",
            "id": ["langchain_cluster", "llm", "ClusteredLLM"],
            "name": self.get_name(),
        }

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        kwargs.pop(SCOPE, None)
        return {**self._identifying_params, "_type": self._llm_type, "stop": stop, **kwargs}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        kwargs.pop(SCOPE, None)
        return super()._get_llm_string(stop=stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = {
            "ls_provider": "cluster",
            "ls_model_type": "chat",
            "ls_model_name": kwargs.get("model") or self.cluster.model_name,
            "ls_temperature": kwargs.get("temperature", self.temperature),
            "ls_max_tokens": kwargs.get("max_tokens", self.max_tokens),
            "ls_stop": stop or self.stop_sequences,
        }
        return {name: value for name, value in params.items() if value is not None}

    def _resolve_model_profile(self) -> Any:
        return common_profile(m.endpoint for m in self.cluster.pool) if self.cluster is not None else None

    def __reduce__(self) -> Any:
        if self.config_source is None:
            raise TypeError(
                "a ClusteredLLM holds live connections and cannot be pickled;"
                " one that was built with ClusteredLLM.from_config can: it is rebuilt from its config"
            )
        own = {name: getattr(self, name) for name in _PICKLED}
        return _rebuild, (self.config_source.model_dump(mode="json"), own)

    def __repr__(self) -> str:
        ids = [m.endpoint.id for m in self.cluster.pool]
        shown = ", ".join(ids[:5]) + (f", and {len(ids) - 5} more" if len(ids) > 5 else "")
        agent = f", agent={self.agent!r}" if self.agent else ""
        return f"ClusteredLLM([{shown}], balancer={self.cluster.pool.balancer.name!r}{agent})"

    __str__ = __repr__


_PICKLED = (
    "agent", "max_tokens", "metadata", "name", "policy", "stop_sequences", "streaming", "tags", "temperature"
)  # fmt: skip
_HIDDEN = {"cluster", "config_source", "stop_sequences", "custom_get_token_ids"}


def _run_id(config: RunnableConfig) -> str:
    return f"lc_run--{config.get('run_id') or _uuid()}"


def _uuid() -> str:
    """A random UUID (RFC 9562, version 4) as text: a third of the time of `str(uuid4())`, on every hit."""
    digits = urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _rebuild(config: dict[str, Any], own: dict[str, Any]) -> ClusteredLLM:
    return ClusteredLLM.from_config(config).model_copy(update=own)
