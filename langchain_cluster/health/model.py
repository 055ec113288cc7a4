"""Does the model answer? The only check that knows, and the only one that costs money."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import xxhash

from langchain_cluster.errors import ConfigError
from langchain_cluster.health.address import base_of
from langchain_cluster.health.http import seconds
from langchain_cluster.leadership.local import LocalLeadership
from langchain_cluster.leadership.seat import Seat
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.health import Health
from langchain_cluster.model.plain import kind_of
from langchain_cluster.model.term import Term
from langchain_cluster.ports import Leadership, Noticeboard

ONE_PROBER = Lock()  # all checks of the process ask one after another
_LOOK = 0.01  # seconds between two tries to become the prober without blocking a loop
KEEP = 3  # times `every` that a finding is good for others, so that they outlast a change of the holder


@runtime_checkable
class Prober(Protocol):
    """Whose turn it is in this process: a `threading.Lock`, or something like it."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


class ModelCheck:
    """Healthy when the endpoint's chat model completes one token. **Every look is a paid call.**

    Never on by default. What was seen holds for `every` seconds, and one caller asks at a time: who
    would have to wait longer than `timeout` for its turn goes by what was seen last, or by nothing,
    which is healthy. A model that is throttled (429) is healthy: it lives.

    With a `leader` that a fleet shares, only who holds it asks. Where the leader is a noticeboard too,
    the holder publishes what it saw and the others go by that, for `KEEP * every` seconds at most;
    where it is none, or cannot be asked, they go by what they saw last themselves, or by nothing. No
    look begins in a term that would end before the look.

    Args:
        every: seconds that one look holds, however often the check is called.
        timeout: seconds for a look; waiting for the turn not counted.
        prompt: what is asked.
        arguments: keyword arguments of the call; `{"max_tokens": 1}` if None.
        prober: whose turn it is in this process.
        leader: whose turn it is in the fleet; this process alone if None.

    Raises:
        ConfigError: a length of time that is none, something else that cannot be meant, or a leader
            whose lease is not longer than a look.
    """

    def __init__(
        self,
        *,
        every: float = 60.0,
        timeout: float = 10.0,
        prompt: str = "ping",
        arguments: Mapping[str, Any] | None = None,
        prober: Prober = ONE_PROBER,
        leader: Leadership | None = None,
    ) -> None:
        self.every = seconds(every, "ModelCheck.every")
        self.timeout = seconds(timeout, "ModelCheck.timeout")
        self.prompt = _checked(prompt, str, "prompt", "a text")
        given = {"max_tokens": 1} if arguments is None else arguments
        self.arguments = dict(_checked(given, Mapping, "arguments", "a mapping"))
        self._prober = _checked(prober, Prober, "prober", "a lock: it has no acquire and release")
        leader = LocalLeadership() if leader is None else leader
        self.leader = _checked(leader, Leadership, "leader", "a Leadership")
        if self.leader.lease <= self.timeout:
            raise ConfigError(
                f"a lease of {self.leader.lease:g} s is not longer than a look, which may take "
                f"{self.timeout:g} s",
                key="ModelCheck.leader",
            )
        self._seat = Seat(self.leader)
        self._board = self.leader if isinstance(self.leader, Noticeboard) else None
        self._seen: dict[str, tuple[Any, float, Health]] = {}  # id -> (model, when, what)

    def check(self, endpoint: Endpoint) -> Health:
        """What was seen lately, or a look."""
        if (known := self._known(endpoint)) is not None:
            return known
        if not self._prober.acquire(timeout=self.timeout):
            return self._without(endpoint, "another check has the turn")
        try:
            if (known := self._known(endpoint)) is not None:  # seen by whoever had the turn before
                return known
            term = self._seat.hold(time.monotonic(), need=self.timeout)
            if self._board is not None and self.leader.trouble is None:
                self._learn(endpoint, self._board.read(_name(endpoint)))
            if (known := self._known(endpoint)) is not None:
                return known
            if term is None:
                return self._without(endpoint, self._not_ours())
            began = time.monotonic()
            try:
                self._ask(endpoint)
            except Exception as error:
                health = self._note(endpoint, began, error)
            else:
                health = self._note(endpoint, began)
            if self._board is not None:
                self._board.post(*self._notice(term, endpoint, health))
            return health
        finally:
            self._prober.release()

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""
        if (known := self._known(endpoint)) is not None:
            return known
        ends = time.monotonic() + self.timeout
        while not self._prober.acquire(blocking=False):
            if time.monotonic() > ends:
                return self._without(endpoint, "another check has the turn")
            await asyncio.sleep(_LOOK)
        try:
            if (known := self._known(endpoint)) is not None:
                return known
            term = await self._seat.ahold(time.monotonic(), need=self.timeout)
            if self._board is not None and self.leader.trouble is None:
                self._learn(endpoint, await self._board.aread(_name(endpoint)))
            if (known := self._known(endpoint)) is not None:
                return known
            if term is None:
                return self._without(endpoint, self._not_ours())
            began = time.monotonic()
            try:
                async with asyncio.timeout(self.timeout):
                    await self._aask(endpoint)
            except Exception as error:
                health = self._note(endpoint, began, error)
            else:
                health = self._note(endpoint, began)
            if self._board is not None:
                await self._board.apost(*self._notice(term, endpoint, health))
            return health
        finally:
            self._prober.release()

    def close(self) -> None:
        """Let another process ask, at once."""
        self._seat.leave()
        close = getattr(self.leader, "close", None)
        if close is not None:
            close()

    def _ask(self, endpoint: Endpoint) -> None:
        model = endpoint.model
        if Role.EMBEDDING in endpoint.roles:
            model.embed_query(self.prompt)
        else:
            model.invoke(self.prompt, _quietly(), **self._arguments_for(endpoint))

    async def _aask(self, endpoint: Endpoint) -> None:
        model = endpoint.model
        if Role.EMBEDDING in endpoint.roles:
            await model.aembed_query(self.prompt)
        else:
            await model.ainvoke(self.prompt, _quietly(), **self._arguments_for(endpoint))

    def _arguments_for(self, endpoint: Endpoint) -> dict[str, Any]:
        return {} if Role.RETRIEVAL in endpoint.roles else self.arguments

    def _known(self, endpoint: Endpoint) -> Health | None:
        if endpoint.model is None:
            return Health(True, "not checked: it has no model")
        model, at, health = self._seen.get(endpoint.id, (None, 0.0, None))
        fresh = model is endpoint.model and time.monotonic() - at < self.every
        return health if fresh else None

    def _without(self, endpoint: Endpoint, why: str) -> Health:
        model, _, health = self._seen.get(endpoint.id, (None, 0.0, None))
        if health is not None and model is endpoint.model:
            return health
        return Health(True, f"not checked: {why}")

    def _not_ours(self) -> str:
        return self.leader.trouble or "another process asks the model"

    def _notice(self, term: Term, endpoint: Endpoint, health: Health) -> tuple[Term, str, str, float]:
        said = {"ok": health.ok, "reason": health.reason, "seconds": round(health.seconds, 6)}
        return term, _name(endpoint), json.dumps(said), KEEP * self.every

    def _learn(self, endpoint: Endpoint, posted: tuple[str, float] | None) -> None:
        """Take what the holder published for seen, unless we saw something later."""
        health = None if posted is None else _read(posted[0])
        if posted is None or health is None:
            return
        at = time.monotonic() - posted[1]
        model, own, _ = self._seen.get(endpoint.id, (None, 0.0, None))
        if model is not endpoint.model or own < at:
            self._seen[endpoint.id] = (endpoint.model, at, health)

    def _note(self, endpoint: Endpoint, began: float, error: Exception | None = None) -> Health:
        now = time.monotonic()
        if error is None and now - began > self.timeout:  # a thread cannot be stopped in the middle
            health = Health(False, f"no answer within {self.timeout:g} s", seconds=now - began)
        elif error is None:
            health = Health(True, "the model answered", seconds=now - began)
        elif (status := getattr(error, "status_code", None)) == 429:
            health = Health(True, "the model is throttled", seconds=now - began)
        else:
            health = Health(False, kind_of(error, status), seconds=now - began)
        self._seen[endpoint.id] = (endpoint.model, now, health)
        return health

    def __repr__(self) -> str:
        shared = "" if isinstance(self.leader, LocalLeadership) else f", leader={self.leader!r}"
        return f"ModelCheck(every={self.every:g}, timeout={self.timeout:g}{shared})"


def _checked(given: Any, kind: Any, option: str, words: str) -> Any:
    if isinstance(given, type) or not isinstance(given, kind):
        raise ConfigError(f"{given!r} is not {words}", key=f"ModelCheck.{option}")
    return given


def _name(endpoint: Endpoint) -> str:
    """What a finding is published under: who was asked, and where. Hashed: an address may hold a secret."""
    model = getattr(endpoint.model, "model_name", None) or getattr(endpoint.model, "model", None)
    parts = map(str, (endpoint.id, base_of(endpoint), model))
    return xxhash.xxh3_128_hexdigest("\0".join(parts).encode())


def _read(text: str) -> Health | None:
    """A finding as it was published; None for anything else."""
    try:
        said = json.loads(text)
        ok, reason, took = said["ok"], said["reason"], float(said["seconds"])
    except (ValueError, TypeError, KeyError):
        return None
    return Health(ok, reason, seconds=took) if isinstance(ok, bool) and isinstance(reason, str) else None


def _quietly() -> Any:
    """A config without the callbacks of whoever is around; traces show the look by its name."""
    return {"callbacks": [], "run_name": "health check", "tags": ["health-check"]}
