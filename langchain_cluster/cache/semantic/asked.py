"""What a `SemanticCache` may be asked and given: requests or texts, texts or bytes."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from langchain_cluster.cache.semantic.normal import normal
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request


def asked_of(request: Any) -> tuple[str, str] | None:
    """(text, scope) of a question; None for one that is never compared. Raises ConfigError."""
    if isinstance(request, str):
        return request, ""
    if not isinstance(request, Request):
        raise ConfigError(
            f"{type(request).__name__} is neither a Request nor a text", key="SemanticCache.lookup"
        )
    meaning = request.meaning
    return None if meaning is None else (meaning.text, meaning.scope)


def kept_of(answer: Any) -> tuple[bytes | str, str]:
    """(answer, its text). Raises ConfigError."""
    if isinstance(answer, str):
        return answer, answer
    if isinstance(answer, bytes):
        return answer, answer.decode(errors="replace")
    raise ConfigError(f"{type(answer).__name__} is neither a text nor bytes", key="SemanticCache.store")


def digest_of(words: str) -> str:
    """What two answers have in common that are the same but for how they are written."""
    return sha256(normal(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]
