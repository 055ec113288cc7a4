"""The LangChain run of a stream: `_stream` is not given its run manager, and tracing wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.uuid import uuid7


class StreamRun:
    """As much of a run manager as tells which run it is, and who watches.

    Args:
        config: of the run, which is given an id if it has none.
        callbacks: the model's own.
    """

    __slots__ = ("_callbacks", "_given", "run_id")

    def __init__(self, config: RunnableConfig, callbacks: Any) -> None:
        run_id = config.get("run_id")
        if run_id is None:
            run_id = config["run_id"] = uuid7()
        self.run_id: UUID = run_id
        self._given, self._callbacks = config.get("callbacks"), callbacks

    @property
    def handlers(self) -> Sequence[BaseCallbackHandler]:
        """Who watches; worked out anew, as few ask."""
        handlers: list[BaseCallbackHandler] = CallbackManager.configure(self._given, self._callbacks).handlers
        return handlers
