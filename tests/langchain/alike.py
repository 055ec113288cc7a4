"""What a run told, without what no two runs share: ids, times, and which endpoint it was."""

from __future__ import annotations

import re
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage
from langchain_core.outputs import Generation, LLMResult

_OF_THIS_RUN = frozenset(
    {
        "id", "run_id", "parent_ids", "run_ids", "parent_run_id", "tool_call_id", "cluster", "created",
        "system_fingerprint", "lc_versions", "model_provider", "checkpoint_ns", "langgraph_checkpoint_ns",
        "__pregel_task_id", "timestamp", "ls_provider", "ls_integration", "name", "seq", "event_id",
    }
)  # fmt: skip
_ENDPOINT = re.compile(r"(gpu-\d|claude)")


def alike(value: Any) -> Any:
    """`value` as data, ids and endpoints taken out."""
    if isinstance(value, BaseMessage):
        value = {"kind": value.type, **value.model_dump()}
    elif isinstance(value, Generation | LLMResult):
        value = value.model_dump()
    if isinstance(value, dict):
        named = {"ChatOpenAI": "model", "ClusteredLLM": "model"}
        return {
            named.get(key, key): named.get(inner, alike(inner)) if isinstance(inner, str) else alike(inner)
            for key, inner in value.items()
            if key not in _OF_THIS_RUN or (key == "name" and isinstance(inner, str) and inner not in named)
        }
    if isinstance(value, list | tuple):
        return [alike(inner) for inner in value]
    if isinstance(value, str):
        return _ENDPOINT.sub("gpu", value)
    return value if isinstance(value, int | float | bool | type(None)) else str(type(value))


class Watcher(BaseCallbackHandler):
    """Everything LangChain tells about runs of chat models, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tokens: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.params: list[dict[str, Any]] = []
        self.serialized: list[Any] = []
        self.results: list[LLMResult] = []
        self.errors: list[BaseException] = []
        self.options: list[dict[str, Any]] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.told.append("start")
        self.serialized.append(serialized)
        self.metadata.append(kwargs.get("metadata") or {})
        self.params.append(kwargs.get("invocation_params") or {})
        self.options.append(kwargs.get("options") or {})

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.told.append("token")
        self.tokens.append(token)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.told.append("end")
        self.results.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append("error")
        self.errors.append(error)


def as_json(value: Any) -> Any:
    """As LangChain would dump it."""
    return dumpd(value)
