"""What a Runnable is, as far as its answers go: two of one identity may answer for each other.

Read off what can be read faithfully: functions by their name and code, compositions by their parts,
LangChain's own objects by their fields. What holds something alive (an index, a connection, a closure over
an object) has an identity of its own in this process, and none in another: a `name` gives it one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseLanguageModel
from langchain_core.load import dumps
from langchain_core.load.serializable import Serializable
from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
)
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.tools import BaseTool
from pydantic import BaseModel, SecretStr

from langchain_cluster.endpoints.blocks import Uncacheable
from langchain_cluster.endpoints.canonical import digest
from langchain_cluster.endpoints.fingerprint import parameters_of

_FUNCTIONS = ("func", "afunc", "coroutine")
# Of a Runnable's fields, what does not change what it answers.
_NO_MATTER = frozenset(
    {
        "callbacks", "tags", "metadata", "verbose", "name", "cache", "rate_limiter", "custom_get_token_ids",
        "func", "coroutine", "description", "extras",
    }
)  # fmt: skip
_alive: dict[int, tuple[Any, str]] = {}  # by id: a weak reference, and the object's name in this process


class Identity:
    """The identity of a Runnable: what is fixed, and the parameters that may be changed at any time."""

    def __init__(self, runnable: Any) -> None:
        self._fixed = "|".join(_parts(runnable))
        self._leaves = [leaf for leaf in _leaves(runnable) if parameters_of(leaf)]

    def now(self) -> str:
        """A digest of it, as the Runnable is now."""
        changing = "|".join([repr(parameters_of(leaf)) for leaf in self._leaves])
        return sha256(f"{self._fixed}|{changing}".encode("utf-8", "surrogatepass")).hexdigest()


def _inside(runnable: Any) -> list[Any] | None:
    """The Runnables it is made of, None for one that is not composed."""
    if isinstance(runnable, RunnableSequence):
        return list(runnable.steps)
    if isinstance(runnable, RunnableParallel):
        return list(runnable.steps__.values())
    if isinstance(runnable, RunnableBindingBase):
        return [runnable.bound]
    return None


def _leaves(runnable: Any) -> Iterator[Any]:
    inside = _inside(runnable)
    if inside is None:
        yield runnable
    else:
        for part in inside:
            yield from _leaves(part)


def _parts(runnable: Any) -> Iterator[str]:
    kind = type(runnable)
    yield f"{kind.__module__}.{kind.__qualname__}"
    try:
        if isinstance(runnable, RunnableParallel):
            yield repr(list(runnable.steps__))
        elif isinstance(runnable, RunnableBindingBase):
            yield digest(dict(runnable.kwargs))
        inside = _inside(runnable)
        if inside is not None:
            for part in inside:
                yield from _parts(part)
            return
        yield _leaf(runnable)
    except (Uncacheable, RecursionError, ValueError):  # ValueError: a closure's cell that is still empty
        yield _alone(runnable)


def _leaf(runnable: Any) -> str:
    if isinstance(runnable, FunctionType):
        return _function(runnable)
    if isinstance(runnable, RunnableLambda | RunnableGenerator | BaseTool):
        told = [_function(function) for function in _functions(runnable)]
        if told and not isinstance(runnable, BaseTool):
            return "|".join(told)
        return "|".join([*told, _model(runnable)])
    if isinstance(runnable, BaseLanguageModel) and isinstance(runnable, Serializable):
        return _model(runnable)
    if isinstance(runnable, Serializable) and runnable.is_lc_serializable():
        text = dumps(runnable)  # secrets are named in it, and not told
        if '"not_implemented"' not in text:
            return text
    return _model(runnable)


def _model(runnable: Any) -> str:
    """By its fields, but for secrets. Raises Uncacheable when one of them is alive."""
    if not isinstance(runnable, BaseModel):
        raise Uncacheable
    fields = {
        name: runnable.__dict__.get(name) for name in type(runnable).model_fields if name not in _NO_MATTER
    }
    return digest({name: _told(inner) for name, inner in fields.items() if not isinstance(inner, SecretStr)})


def _told(value: Any) -> Any:
    """A field's value; a class, as one to parse into, by its name and schema."""
    if isinstance(value, type):
        schema = value.model_json_schema() if issubclass(value, BaseModel) else None
        return [value.__module__, value.__qualname__, schema]
    return value


def _functions(runnable: Any) -> Iterator[Any]:
    names = ("_transform", "_atransform") if isinstance(runnable, RunnableGenerator) else _FUNCTIONS
    for name in names:
        if callable(function := getattr(runnable, name, None)):
            yield function


def _function(function: Callable[..., Any]) -> str:
    """By name, code, defaults and what it closes over. Raises Uncacheable when that is alive."""
    function = unwrap(function)
    code = getattr(function, "__code__", None)
    if not isinstance(function, FunctionType) or code is None:
        raise Uncacheable  # a bound method, a callable object
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    if any(isinstance(inner, list | dict | set | bytearray) for inner in closed):
        raise Uncacheable  # it may change
    held = [inner if not isinstance(inner, FunctionType) else _function(inner) for inner in closed]
    more = digest([held, list(function.__defaults__ or ()), dict(function.__kwdefaults__ or {})])
    return f"{function.__module__}.{function.__qualname__}:{_code(code)}:{more}"


def _code(code: CodeType) -> str:
    told = sha256(code.co_code)
    for constant in code.co_consts:
        told.update(_constant(constant).encode("utf-8", "surrogatepass"))
    told.update(repr(code.co_names).encode())
    return told.hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _code(value)
    # The order in a set of texts is another in every process.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _alone(thing: Any) -> str:
    """A name of this very object in this process; of a function behind a Runnable, the function's."""
    method = ""
    if isinstance(thing, RunnableLambda | RunnableGenerator | BaseTool):
        function = next(_functions(thing), None)
        if function is not None:
            thing, method = getattr(function, "__self__", function), getattr(function, "__qualname__", "")
    return f"{_name_in_this_process(thing)}.{method}"


def _name_in_this_process(thing: Any) -> str:
    number = id(thing)
    known = _alive.get(number)
    if known is not None and known[0]() is thing:
        return known[1]
    name = uuid4().hex
    try:
        _alive[number] = (weakref.ref(thing, lambda _: _alive.pop(number, None)), name)
    except TypeError:
        pass  # it cannot be referred to weakly: each wrapper has a name of its own
    return name


def name_of(runnable: Any) -> str:
    """What a run of it is called."""
    return runnable.get_name() if isinstance(runnable, Runnable) else type(runnable).__name__


def configured(runnable: Any) -> frozenset[str]:
    """The keys of `configurable` that it says it depends on."""
    return frozenset(spec.id for spec in runnable.config_specs)


def settings_in(configurable: Mapping[str, Any], declared: frozenset[str]) -> dict[str, Any]:
    """What of `configurable` may change an answer: all but the cluster's own and LangGraph's bookkeeping."""
    return {
        key: value
        for key, value in configurable.items()
        if key in declared or not (key in _BOOKKEEPING or key.startswith("__"))
    }


_BOOKKEEPING = frozenset(
    {
        "cluster", "thread_id", "run_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map",
        "langgraph_request_id", "langgraph_auth_user",
    }
)  # fmt: skip
