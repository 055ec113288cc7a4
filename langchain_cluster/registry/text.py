"""Text of others, as it may stand in a log."""

from __future__ import annotations

import unicodedata

CONTROL = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line separators


def printable(text: object, longest: int = 80) -> str:
    """`text` without control characters, and no more than so many characters of it."""
    shown = "".join(
        "?" if unicodedata.category(character) in CONTROL else character for character in str(text)[:longest]
    )
    return shown or "?"
