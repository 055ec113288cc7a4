"""Tools and answer formats, translated for each endpoint when it is asked.

`ClusteredLLM.bind_tools` cannot know who will answer: OpenAI and Anthropic spell tools differently, and
one pool may hold both. So a binding carries the tools in OpenAI's spelling, for everything that reads
bindings, with the originals beside them; the endpoint's own `bind_tools` and `with_structured_output`
make of them what it understands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding, RunnableParallel, RunnableSequence
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool

from langchain_cluster.endpoints.dialect import arguments_for, choice_for

_REMEMBERED = 128
_FOR_TRACES_ONLY = ("ls_structured_output_format", "structured_output_format")
_WORDS_OF_BIND_TOOLS = ("parallel_tool_calls",)  # also when they were bound later than the tools


class ToolSet(list[dict[str, Any]]):
    """Tools in OpenAI's spelling, which is what this list holds, and how the user gave them.

    Attributes:
        originals: the tools as given. options: further arguments of `bind_tools` (strict, ...).
        form: the one tool is not to be used: it is the form of the answer.
    """

    def __init__(self, tools: Sequence[Any], options: Mapping[str, Any], *, form: bool = False) -> None:
        super().__init__(_in_openai_spelling(tool) for tool in tools)
        self.originals = tuple(tools)
        self.options = dict(options)
        self.form = form


class Format(dict[str, Any]):
    """A `response_format` in OpenAI's spelling, and the schema the user gave.

    Attributes:
        schema: a pydantic class, a TypedDict or a JSON schema. method: "json_schema" or "json_mode".
        told: what is not in the spelling, and yet told to some endpoints: the schema in JSON mode.
    """

    def __init__(self, schema: Any, method: str, strict: bool | None) -> None:
        if method == "json_mode":
            super().__init__(type="json_object")
            self.told = None if schema is None else _json_schema(schema)
        else:
            self.told = None
            wanted = convert_to_json_schema(schema)
            named: dict[str, Any] = {"name": wanted.get("title", "answer"), "schema": wanted}
            if strict is not None:
                named["strict"] = strict
            super().__init__(type="json_schema", json_schema=named)
        self.schema, self.method, self.strict = schema, method, strict


class Translator:
    """Remembers translations by the identity of what was translated: agents bind on every call."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[Any, tuple[Any, dict[str, Any]]] = OrderedDict()

    def translate(
        self, model: BaseChatModel, arguments: Mapping[str, Any], sdk: str | None = None
    ) -> dict[str, Any]:
        """A call's arguments as `model` wants them; `sdk` is whose words it understands."""
        tools, wanted = arguments.get("tools"), arguments.get("response_format")
        translated = arguments_for(sdk, arguments)
        for name in _FOR_TRACES_ONLY:
            translated.pop(name, None)
        if tools is None and wanted is None:
            return translated
        if isinstance(wanted, Format):
            del translated["response_format"]
            translated |= self._remembered(
                model, (wanted,), ("format",), lambda: _format_for(model, wanted, sdk)
            )
        if isinstance(tools, ToolSet):
            del translated["tools"]
            choice = choice_for(sdk, translated.pop("tool_choice", None))
            options = dict(tools.options)
            for name in _WORDS_OF_BIND_TOOLS:
                translated.pop(name, None)
                if name in arguments:
                    options[name] = arguments[name]
            translated |= self._remembered(
                model,
                tools.originals,
                ("tools", tools.form, repr(choice), repr(sorted(options.items(), key=lambda item: item[0]))),
                lambda: _tools_for(model, tools, choice, options),
            )
        return translated

    def _remembered(
        self, model: BaseChatModel, given: tuple[Any, ...], how: Any, work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        key = (id(model), tuple(map(id, given)), how)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = ((model, given), work())  # what is identified is kept, so that no id is used anew
            with self._lock:
                self._known[key] = known
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return {name: list(v) if isinstance(v, list) else v for name, v in known[1].items()}


def _tools_for(model: BaseChatModel, tools: ToolSet, choice: Any, options: dict[str, Any]) -> dict[str, Any]:
    if tools.form:
        kwargs = _form_for(model, tools)
        if kwargs is not None:
            return kwargs
    if choice is not None:
        options["tool_choice"] = choice
    try:
        bound = model.bind_tools(tools.originals, **options)
    except NotImplementedError:
        return {"tools": list(tools), **options}  # it takes no tools: what it makes of them is its affair
    return dict(bound.kwargs) if isinstance(bound, RunnableBinding) else {"tools": list(tools), **options}


def _form_for(model: BaseChatModel, tools: ToolSet) -> dict[str, Any] | None:
    """How the model itself asks for a tool call that is the answer; None when it does not say."""
    try:
        structured = model.with_structured_output(
            tools.originals[0], method="function_calling", **tools.options
        )
    except (NotImplementedError, ValueError, TypeError):
        return None
    binding = _binding_in(structured)
    if binding is None or "tools" not in binding.kwargs:
        return None
    return {name: value for name, value in binding.kwargs.items() if name not in _FOR_TRACES_ONLY}


def _format_for(model: BaseChatModel, wanted: Format, sdk: str | None) -> dict[str, Any]:
    method = wanted.method
    if sdk == "anthropic" and method == "json_mode":  # it has none: the schema if there is one, or the prompt
        if wanted.schema is None:
            return {}
        method = "json_schema"
    options: dict[str, Any] = {"method": method}
    if wanted.strict is not None:
        options["strict"] = wanted.strict
    try:
        structured = model.with_structured_output(wanted.schema, **options)
    except (NotImplementedError, ValueError, TypeError):
        return {"response_format": dict(wanted)}  # not a method of this kind: the common spelling
    binding = _binding_in(structured)
    if binding is None or ("response_format" not in binding.kwargs and "tools" in binding.kwargs):
        return {"response_format": dict(wanted)}  # it would ask by a tool, which a parser of text cannot read
    kwargs = {name: value for name, value in binding.kwargs.items() if name not in _FOR_TRACES_ONLY}
    if isinstance(kwargs.get("response_format"), type):
        # A class makes the OpenAI SDK parse the answer, and raise on one it cannot: ours to do, once.
        kwargs["response_format"] = dict(wanted)
    return kwargs


def _binding_in(runnable: Any) -> RunnableBinding[Any, Any] | None:
    if isinstance(runnable, RunnableBinding):
        return runnable
    if isinstance(runnable, RunnableSequence):
        return _binding_in(runnable.first)
    if isinstance(runnable, RunnableParallel):
        return next((b for b in map(_binding_in, runnable.steps__.values()) if b is not None), None)
    return None


def _json_schema(schema: Any) -> Any:
    try:
        return convert_to_json_schema(schema)
    except Exception:  # only who is asked by it has to understand it
        return schema


def _in_openai_spelling(tool: Any) -> dict[str, Any]:
    return convert_to_openai_tool(tool)
