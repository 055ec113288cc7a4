"""Does the model answer? The only check that knows, and the only one that costs money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any, Protocol

from langchain_cluster.health.http import seconds
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.health import Health

ONE_PROBER = Lock()  # all checks of the process ask one after another
_LOOK = 0.01  # seconds between two tries to become the prober without blocking a loop


class Prober(Protocol):
    """Who may ask: a `threading.Lock`, or one that a whole fleet shares."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


class ModelCheck:
    """Healthy when the endpoint's chat model completes one token. **Every look is a paid call.**

    Never on by default. What was seen holds for `every` seconds, and one caller asks at a time: who
    would have to wait longer than `timeout` for its turn goes by what was seen last, or by nothing,
    which is healthy. A model that is throttled (429) is healthy: it lives.

    Args:
        every: seconds that one look holds, however often the check is called.
        timeout: seconds for a look; waiting for the turn not counted.
        prompt: what is asked.
        arguments: keyword arguments of the call; `{"max_tokens": 1}` if None.
        prober: who may ask; a lock that is shared by the fleet makes it one look for all of them.

    Raises:
        ConfigError: a length of time that is none.
    """

    def __init__(
        self,
        *,
        every: float = 60.0,
        timeout: float = 10.0,
        prompt: str = "ping",
        arguments: Mapping[str, Any] | None = None,
        prober: Prober = ONE_PROBER,
    ) -> None:
        self.every = seconds(every, "ModelCheck.every")
        self.timeout = seconds(timeout, "ModelCheck.timeout")
        self.prompt = prompt
        self.arguments = {"max_tokens": 1} if arguments is None else dict(arguments)
        self._prober = prober
        self._seen: dict[str, tuple[Any, float, Health]] = {}  # id -> (model, when, what)

    def check(self, endpoint: Endpoint) -> Health:
        """What was seen lately, or a look."""
        if (known := self._known(endpoint)) is not None:
            return known
        if not self._prober.acquire(timeout=self.timeout):
            return self._without(endpoint)
        try:
            if (known := self._known(endpoint)) is not None:  # seen by whoever had the turn before
                return known
            began = time.monotonic()
            try:
                endpoint.model.invoke(self.prompt, _quietly(), **self.arguments)
            except Exception as error:
                return self._note(endpoint, began, error)
            return self._note(endpoint, began)
        finally:
            self._prober.release()

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""
        if (known := self._known(endpoint)) is not None:
            return known
        ends = time.monotonic() + self.timeout
        while not self._prober.acquire(blocking=False):
            if time.monotonic() > ends:
                return self._without(endpoint)
            await asyncio.sleep(_LOOK)
        try:
            if (known := self._known(endpoint)) is not None:
                return known
            began = time.monotonic()
            try:
                async with asyncio.timeout(self.timeout):
                    await endpoint.model.ainvoke(self.prompt, _quietly(), **self.arguments)
            except Exception as error:
                return self._note(endpoint, began, error)
            return self._note(endpoint, began)
        finally:
            self._prober.release()

    def _known(self, endpoint: Endpoint) -> Health | None:
        if endpoint.model is None:
            return Health(True, "not checked: it has no model")
        model, at, health = self._seen.get(endpoint.id, (None, 0.0, None))
        fresh = model is endpoint.model and time.monotonic() - at < self.every
        return health if fresh else None

    def _without(self, endpoint: Endpoint) -> Health:
        model, _, health = self._seen.get(endpoint.id, (None, 0.0, None))
        if health is not None and model is endpoint.model:
            return health
        return Health(True, "not checked: another check has the turn")

    def _note(self, endpoint: Endpoint, began: float, error: Exception | None = None) -> Health:
        now = time.monotonic()
        if error is None:
            health = Health(True, "the model answered", seconds=now - began)
        elif getattr(error, "status_code", None) == 429:
            health = Health(True, "the model is throttled", seconds=now - began)
        else:
            what = f"{type(error).__name__}: {error}"[:200].rstrip(": ")
            health = Health(False, what, seconds=now - began)
        self._seen[endpoint.id] = (endpoint.model, now, health)
        return health

    def __repr__(self) -> str:
        return f"ModelCheck(every={self.every:g}, timeout={self.timeout:g})"


def _quietly() -> Any:
    """A config without the callbacks of whoever is around; traces show the look by its name."""
    return {"callbacks": [], "run_name": "health check", "tags": ["health-check"]}
