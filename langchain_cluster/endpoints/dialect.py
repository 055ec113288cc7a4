"""Words of one provider's calls, said in another's. One pool may hold both, and a call does not know.

Only what is known to belong to one provider is renamed or left out for the other. A word nobody knows
is passed on: the model that gets it will say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ONLY = {
    "openai": frozenset(
        {
            "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
            "modalities", "moderation", "n", "parallel_tool_calls", "prediction", "presence_penalty",
            "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "seed",
            "store", "stream_options", "top_logprobs", "user", "verbosity", "web_search_options",
        }
    ),
    "anthropic": frozenset(
        {
            "betas", "cache_control", "container", "context_management", "inference_geo", "mcp_servers",
            "output_config", "thinking", "top_k",
        }
    ),
}  # fmt: skip
_RENAMED = {
    "openai": {"stop_sequences": "stop"},
    "anthropic": {"max_completion_tokens": "max_tokens", "stop_sequences": "stop"},
}
"""`stop` is how LangChain says it to any chat model."""


def arguments_for(sdk: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments without the words only another provider has; `sdk` as in `Adapter.sdk`."""
    if sdk is None:
        return dict(arguments)
    renamed = _RENAMED[sdk]
    foreign = frozenset().union(*(words for whose, words in _ONLY.items() if whose != sdk))
    return {renamed.get(name, name): value for name, value in arguments.items() if name not in foreign}


def choice_for(sdk: str | None, choice: Any) -> Any:
    """A `tool_choice` in the words of `bind_tools` of that provider's model."""
    match sdk, choice:
        case "openai", {"type": "any" | "auto" | "none" as kind}:
            return kind
        case "openai", {"type": "tool", "name": str(name)}:
            return name
        case "anthropic", "required" | True:
            return "any"
        case "anthropic", False:
            return None
        case "anthropic", "none":
            return {"type": "none"}
        case "anthropic", {"type": "function", "function": {"name": str(name)}}:
            return name
        case _:
            return choice
