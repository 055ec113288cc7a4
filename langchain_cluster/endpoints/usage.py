"""How an answer ended and what it used, read from a LangChain message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_cluster.model.call import Usage

_REASONS = ("finish_reason", "stop_reason", "done_reason")
_WHOLE = frozenset({"stop", "end_turn", "stop_sequence", "eos", "completed", "STOP", "COMPLETE"})
_CALLED = frozenset({"tool_calls", "tool_use", "function_call", "tool_call", "TOOL_CALL"})


def usage_of(metadata: Mapping[str, Any] | None) -> Usage | None:
    """`usage_metadata` as a `Usage`; None when the endpoint did not report any."""
    if not metadata:
        return None
    cached = (metadata.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(metadata.get("input_tokens") or 0, metadata.get("output_tokens") or 0, cached)


def finish_reason_of(message: BaseMessage, *further: Mapping[str, Any] | None) -> str | None:
    """Why the model stopped, under whichever name; None when it did not say.

    `further`: where else a provider may say it: a generation's info (OpenAI), `llm_output` (Anthropic).
    """
    for facts in (*further, message.response_metadata):
        if facts:
            for name in _REASONS:
                reason = facts.get(name)
                if reason:
                    return str(reason)
    return None


def storable(message: BaseMessage, reason: str | None, *, says_why: bool, calls: bool = False) -> bool:
    """Whether an answer may be cached: whole, with something in it, and without tool calls.

    `says_why`: whether this kind of model always gives a reason, so that none means cut off.
    `calls`: one with tool calls, too, if they can be read.
    """
    called = bool(getattr(message, "tool_calls", None))
    if getattr(message, "invalid_tool_calls", None) or (called and not calls):
        return False
    if not message.content and not called:
        return False
    return reason in _WHOLE or (called and reason in _CALLED) or (reason is None and not says_why)
