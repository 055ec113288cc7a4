"""What of a question may be compared by its meaning: what the user said last, and nothing else.

The rest (tenant, model, parameters, tools, system prompt, every earlier turn) has to be equal. Where the
last message is not a user's plain text, or some message shows more than text, nothing is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_cluster.endpoints.fingerprint import fingerprint, sampled
from langchain_cluster.model.call import Meaning


def meaning_of(
    messages: Sequence[BaseMessage],
    stop: Sequence[str] | None,
    arguments: Mapping[str, Any],
    *,
    tenant: str | None,
    warm: bool,
) -> Meaning | None:
    """The text and its scope; None for what is never answered by meaning.

    Args:
        warm: whether a model samples by its own settings: where chance is asked for, nothing is compared.
    """
    if not messages or sampled(arguments, warm=warm):
        return None
    last = messages[-1]
    if not isinstance(last, HumanMessage) or not all(_is_text(message) for message in messages):
        return None
    text = str(last.text)
    if not text.strip():
        return None
    rest = [*messages[:-1], last.model_copy(update={"content": ""})]
    scope = fingerprint(rest, stop, arguments, tenant=tenant)
    return None if scope is None else Meaning(text, scope)


def words_of(value: Any) -> str | None:
    """The text of a chat's answer; None when it is more than text, and so is not to be kept."""
    message: BaseMessage = value.generations[0].message if hasattr(value, "generations") else value.message
    if not _is_text(message):
        return None
    if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
        return None
    return str(message.text) or None


def _is_text(message: BaseMessage) -> bool:
    content: Any = message.content
    return isinstance(content, str) or all(
        isinstance(block, str) or (isinstance(block, Mapping) and block.get("type") == "text")
        for block in content
    )
