"""Secrets out of text that is about to be written down: passwords of addresses, tokens, keys.

The second line of defence. The first is that nothing here is given a secret; but the text of another
library's error may have one.
"""

from __future__ import annotations

import re
from hashlib import sha256

from langchain_cluster.model.events import BudgetUsed

HIDDEN = "***"
_PATTERNS = [
    (re.compile(r"(?<=//)[^/@\s\"']+(?=@)"), HIDDEN),  # https://user:password@host
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"""(?ix) ( [\w-]* (?: api[-_]?key | token | secret | passw(?:or)?d | authorization | cookie
                | credentials? | signature ) ["']? \s* [=:] \s* ["']? ) (?!\*\*\*) (?! (?:bearer|basic)\s )
                [^\s"'&,;]+"""
        ),
        rf"\1{HIDDEN}",
    ),
    # As providers begin theirs: OpenAI, Anthropic, Groq, Hugging Face, Google, Slack, GitHub, AWS.
    (
        re.compile(
            r"\b(?:sk-[\w-]{8,}|gsk_\w{8,}|hf_\w{8,}|AIza[\w-]{16,}|xox[abprs]-[\w-]{8,}|gh[pousr]_\w{16,}"
            r"|AKIA[A-Z0-9]{12,})"
        ),
        HIDDEN,
    ),
    (re.compile(r"(?i)(hooks\.slack\.com/services/)\S+"), rf"\1{HIDDEN}"),
]


def scrub(text: str) -> str:
    """The same text without what looks like a secret."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def payer(event: BudgetUsed) -> str | None:
    """Whose budget it is, as it is written down; None of a cluster's."""
    return hashed(event.who) if event.scope == "tenant" and event.who is not None else event.who


def hashed(tenant: str) -> str:
    """A tenant's name as it is written down: the same each time, and nobody reads it back."""
    return sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:12]
