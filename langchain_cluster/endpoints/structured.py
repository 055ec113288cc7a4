"""Structured output and bindings of a `ClusteredLLM`, whoever in the pool will answer."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from langchain_core.language_models.chat_models import _ChatModelBinding
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_cluster.endpoints.binding import Format, ToolSet
from langchain_cluster.errors import ConfigError

METHODS = ("function_calling", "json_schema", "json_mode")
_TOOL_OPTIONS = ("strict", "parallel_tool_calls", "response_format")


def bound_tools(tools: Sequence[Any], tool_choice: Any, further: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments that `bind_tools` binds.

    `strict` and the like are words of `bind_tools` itself, said again to each endpoint's own; anything
    else is an argument of the call.
    """
    options = {name: further.pop(name) for name in _TOOL_OPTIONS if name in further}
    bound: dict[str, Any] = {"tools": ToolSet(tools, options), **further}
    if tool_choice is not None:
        bound["tool_choice"] = tool_choice
    return bound


def structured(
    model: Any, schema: Any, *, method: str, include_raw: bool, strict: bool | None, further: dict[str, Any]
) -> Runnable[Any, Any]:
    """`model` followed by a parser for `schema`.

    Raises:
        ConfigError: an unknown method.
    """
    if method not in METHODS:
        raise ConfigError(
            f"unknown method {method!r}", key="with_structured_output", valid=METHODS, got=method
        )
    if schema is None and method != "json_mode":
        raise ConfigError("a schema is needed", key="with_structured_output")
    is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
    traced = {"kwargs": {"method": method}, "schema": schema}
    parser: Any
    if method == "function_calling":
        options = {} if strict is None else {"strict": strict}
        tools = ToolSet([schema], options, form=True)
        llm = model.bind(tools=tools, tool_choice="any", ls_structured_output_format=traced, **further)
        if is_class:
            parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
        else:
            name = convert_to_openai_tool(schema)["function"]["name"]
            parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    else:
        wanted = Format(schema, method, strict)
        llm = model.bind(response_format=wanted, ls_structured_output_format=traced, **further)
        parser = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
    if not include_raw:
        return llm | parser  # type: ignore[no-any-return]
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")


class ClusteredBinding(_ChatModelBinding):  # type: ignore[no-redef]  # the plugin's __init__ has a field `kwargs`
    """A `ClusteredLLM` with arguments or a config bound to it.

    Stock bindings pass `bind_tools` on to the model they hold, and lose what they hold themselves:
    `llm.bind(temperature=0).bind_tools([t])` forgets the temperature. This one keeps it.
    """

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **further: Any
    ) -> ClusteredBinding:
        """See `ClusteredLLM.bind_tools`."""
        return self._with(**bound_tools(tools, tool_choice, further))

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: str = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **further: Any,
    ) -> Runnable[Any, Any]:
        """See `ClusteredLLM.with_structured_output`."""
        return structured(
            self, schema, method=method, include_raw=include_raw, strict=strict, further=further
        )

    def for_agent(self, agent: str, **overrides: Any) -> ClusteredBinding:
        """See `ClusteredLLM.for_agent`."""
        return self.model_copy(update={"bound": self.bound.for_agent(agent, **overrides)})  # type: ignore[attr-defined]

    def _with(self, **arguments: Any) -> ClusteredBinding:
        return self.__class__(
            bound=self.bound,
            kwargs={**self.kwargs, **arguments},
            config=self.config,
            config_factories=self.config_factories,
            custom_input_type=self.custom_input_type,
            custom_output_type=self.custom_output_type,
        )
