"""A model that is made when it is first asked: a registry may name hundreds that nobody asks for.

Whoever looks at an endpoint's model sees its settings without making it; whoever asks makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_LOOKED_AT = ("bound", "profile")  # asked of every model that joins, and no reason to make one


class Deferred:
    """A place for a model.

    Args:
        make: makes it, on the thread of whoever asks first. Where several are first it is called by each of
            them, and gives all of them the same. What it raises is raised by each try.
        provider: such as "openai".
        settings: what can be told of it before it is made, by name (`model_name`, `temperature`, ...).
    """

    def __init__(self, make: Callable[[], Any], provider: str, settings: Mapping[str, Any]) -> None:
        self.__dict__.update(settings)
        self._make, self.provider = make, provider
        self._made: Any = None
        self.gone = False  # whoever made it has let it go: not to be used for an endpoint that joins

    def made(self) -> Any:
        """The model."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or (name in _LOOKED_AT and self._made is None):
            raise AttributeError(name)
        return getattr(self.made(), name)

    def __repr__(self) -> str:
        state = "not made yet" if self._made is None else "made"
        return f"<Deferred {self.provider}:{self.__dict__.get('model_name')}, {state}>"


def settled(model: Any) -> Any:
    """The model itself."""
    return model.made() if isinstance(model, Deferred) else model
