"""What a chat model's profile says of it, in the pool's own words.

LangChain ships profiles by the name of the model. Behind an address of one's own a name proves nothing,
so what a profile says is a hint: it never leaves a request with nobody to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DENIED_BY = {
    "tool_calling": "tools",
    "structured_output": "structured_output",
    "image_inputs": "vision",
    "audio_inputs": "audio",
    "video_inputs": "video",
    "pdf_inputs": "pdf",
}


@dataclass(frozen=True, slots=True)
class Hints:
    """`window`: tokens a prompt may have, None if not said; `denied`: what the model is said not to do."""

    window: int | None = None
    denied: frozenset[str] = frozenset()


NO_HINTS = Hints()


def hints_of(model: Any) -> Hints:
    """What the profile of a chat model, or of the one inside a binding, says; nothing without a profile."""
    bound = getattr(model, "bound", None)
    while bound is not None and bound is not model:
        model, bound = bound, getattr(bound, "bound", None)
    profile = getattr(model, "profile", None)
    if not isinstance(profile, Mapping):
        return NO_HINTS
    window = profile.get("max_input_tokens")
    known = window if isinstance(window, int) and not isinstance(window, bool) and window > 0 else None
    denied = frozenset(name for key, name in _DENIED_BY.items() if profile.get(key) is False)
    return Hints(known, denied) if known or denied else NO_HINTS
