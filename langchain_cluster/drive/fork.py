"""Tell whoever has threads when this process is the child of a fork: the threads stayed with the parent."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that has threads."""

    def forked(self) -> None:
        """This is the child."""


_TOLD: WeakSet[Forked] = WeakSet()
_asked = False


def on_fork(thing: Forked) -> None:
    """Call `thing.forked()` in the child of every fork from now on, for as long as it lives."""
    global _asked
    _TOLD.add(thing)
    if not _asked and hasattr(os, "register_at_fork"):
        _asked = True
        os.register_at_fork(after_in_child=_tell)


def _tell() -> None:
    for thing in list(_TOLD):
        thing.forked()
