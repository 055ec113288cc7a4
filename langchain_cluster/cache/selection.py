"""Which entries are taken back: by a glob over keys, a tenant, a model, a tag, or several at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from langchain_cluster.cache.glob import matcher
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.cache_key import keys_of
from langchain_cluster.model.label import digest, tags_of


@dataclass(frozen=True, slots=True)
class Selection:
    """All conditions hold.

    Attributes:
        patterns: globs over keys (`cache/glob.py`), at least one.
        tag: the digest of a tag, None for any entry.
    """

    patterns: tuple[str, ...]
    tag: bytes | None = None

    def means(self, key: str) -> bool:
        """Whether the key is one of them."""
        return all(matcher(pattern)(key) for pattern in self.patterns)

    def has(self, head: bytes) -> bool:
        """Whether an entry whose value begins so has the tag."""
        return self.tag is None or self.tag in tags_of(head)

    @property
    def widest(self) -> str:
        """A glob that means at least these keys, for a server that can go by one."""
        return max(self.patterns, key=lambda pattern: len(pattern.partition("*")[0]))


def selection(
    pattern: str | None = None, *, tenant: str | None = None, model: str | None = None, tag: str | None = None
) -> Selection:
    """What a user asks for.

    Raises:
        ConfigError: nothing is asked for, or what is no text.
    """
    for name, value in (("pattern", pattern), ("tag", tag)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{name} {value!r} is not a text", key="cache.invalidate")
    patterns: tuple[str, ...] = () if pattern is None else (pattern,)
    if tenant is not None or model is not None:
        patterns += (keys_of(tenant, model),)
    if not patterns and tag is None:
        raise ConfigError(
            "what is to be taken back? Give a pattern ('*' for all), a tenant, a model or a tag",
            key="cache.invalidate",
        )
    return Selection(patterns or ("*",), None if tag is None else digest(tag))


def as_it_can(store: Any, selected: Selection) -> tuple[str, tuple[Any, ...]]:
    """The operation that removes it from a store, and what it is given: a user's may only know how to clear.

    Raises:
        ConfigError: that cannot say it.
    """
    if hasattr(store, "remove"):
        return "remove", (selected,)
    if selected.tag is not None or len(selected.patterns) > 1:
        raise ConfigError(
            f"a {type(store).__name__} can only be cleared by one pattern, tenant or model",
            key="cache.invalidate",
        )
    return "clear", selected.patterns


class Invalidates(ABC):
    """The two ways in, for stores that can `remove`."""

    @abstractmethod
    def remove(self, selected: Selection) -> int:
        """Remove what is selected; how many there were."""

    @abstractmethod
    async def aremove(self, selected: Selection) -> int:
        """See `remove`."""

    def invalidate(
        self,
        pattern: str | None = None,
        *,
        tenant: str | None = None,
        model: str | None = None,
        tag: str | None = None,
    ) -> int:
        """Remove answers; how many there were. What is asked for must hold together.

        Args:
            pattern: a glob over keys, "*" for all. tenant: whose; "" for those of nobody.
            model: the `identity` of the endpoints that gave them, else the name of their model.
            tag: one of the `cache_tags` they were stored with.

        Raises:
            ConfigError: nothing is asked for, or what is no text.
        """
        return self.remove(selection(pattern, tenant=tenant, model=model, tag=tag))

    async def ainvalidate(
        self,
        pattern: str | None = None,
        *,
        tenant: str | None = None,
        model: str | None = None,
        tag: str | None = None,
    ) -> int:
        """See `invalidate`."""
        return await self.aremove(selection(pattern, tenant=tenant, model=model, tag=tag))
