"""Callers of both colours that ask in every way, leave when they like, and check every word they get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing, closing
from random import Random
from threading import Event, Thread, current_thread
from typing import Any

from langchain_core.messages import AIMessage

from langchain_cluster import ClusteredLLM, HedgePolicy, Policy
from tests.chaos.ledger import ANSWERED, LEFT, Ledger, is_clear, kind_of
from tests.chaos.server import checked

SLACK = 8.0  # seconds a call may end after its time on a machine that is far too busy


def policy(rng: Random) -> Policy:
    """Any that somebody might write."""
    timeout = rng.uniform(1.0, 6.0)
    return Policy(
        timeout=timeout,
        attempts=rng.choice((2, 3, 3, 5)),
        attempt_timeout=rng.choice((None, min(timeout, rng.uniform(0.4, 1.5)))),
        first_token_timeout=rng.choice((None, 0.5)),
        idle_timeout=rng.choice((0.4, 1.0)),
        retry_budget=rng.choice((0.2, 0.2, None)),
        hedge=rng.choice((None, None, HedgePolicy(after=0.1, max_extra=0.5), HedgePolicy(after="p95"))),
        recover=rng.choice(("fail", "resume", "buffer")),
    )


class Callers:
    """So many threads and so many tasks, until told to stop.

    Args:
        names: of the models, by endpoint: an answer must name the one it says it is from.
        rate: calls a second that all of them begin, if each were answered at once.
    """

    def __init__(
        self, llm: ClusteredLLM, ledger: Ledger, names: dict[str, str], seed: int, *, rate: float
    ) -> None:
        self.llm, self.ledger, self.names, self.seed, self.rate = llm, ledger, names, seed, rate
        self.lag = (
            0.0  # seconds the loop of the tasks came too late at worst: the machine's, not the library's
        )
        self._pace = 0.0  # calls a second of each
        self.stopping = Event()
        self._threads: list[Thread] = []

    def start(self, threads: int, tasks: int) -> None:
        """Begin to ask."""
        self._pace = self.rate / (threads + tasks)
        for n in range(threads):
            name = f"chaos-caller-{n}"
            rng = Random(f"{self.seed} thread {n}")
            self._threads.append(Thread(target=self._block, args=(rng,), name=name, daemon=True))
        loop = Thread(target=lambda: asyncio.run(self._tasks(tasks)), name="chaos-tasks", daemon=True)
        self._threads.append(loop)
        for thread in self._threads:
            thread.start()

    def stop(self, within: float) -> list[str]:
        """No new calls; wait for those under way. Returns the names of callers that are stuck."""
        self.stopping.set()
        end = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    # -- threads ----------------------------------------------------------------------------------

    def _block(self, rng: Random) -> None:
        while not self.stopping.wait(min(rng.expovariate(self._pace), 2.0)):
            way = rng.choice((self._invoke, self._invoke, self._stream, self._stream, self._leave_stream))
            number, text, given, config = self._next(way.__name__, rng)
            began = time.monotonic()
            try:
                message = way(text, config, rng)
            except Exception as error:
                self._failed(number, error, began, given)
            except BaseException as error:
                self.ledger.complain(f"call {number} got {error!r}")
                raise
            else:
                self._got(number, text, message, began, given)

    def _invoke(self, text: str, config: Any, rng: Random) -> Any:
        return self.llm.invoke(text, config)

    def _stream(self, text: str, config: Any, rng: Random) -> Any:
        return added(list(self.llm.stream(text, config)))

    def _leave_stream(self, text: str, config: Any, rng: Random) -> Any:
        left, received = rng.randrange(1, 12), []
        with closing(self.llm.stream(text, config)) as chunks:  # type: ignore[type-var]
            for chunk in chunks:
                received.append(chunk)
                if len(received) >= left:
                    return self._part(text, received)
        return added(received)

    # -- tasks ------------------------------------------------------------------------------------

    async def _tasks(self, count: int) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.ledger.complain(f"on the loop: {context}")
        )
        watch = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._await(Random(f"{self.seed} task {n}")) for n in range(count)))
        watch.cancel()
        for _ in range(300):  # what they left behind has a moment to end
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if not others:
                return
            await asyncio.sleep(0.01)
        self.ledger.complain(f"tasks are left: {others}")

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + 0.1
            await asyncio.sleep(0.1)
            self.lag = max(self.lag, time.monotonic() - due)

    async def _await(self, rng: Random) -> None:
        ways = (self._ainvoke, self._ainvoke, self._astream, self._astream, self._aleave, self._cancel)
        while not self.stopping.is_set():
            await asyncio.sleep(min(rng.expovariate(self._pace), 2.0))
            way = rng.choice(ways)
            number, text, given, config = self._next(way.__name__, rng)
            began = time.monotonic()
            try:
                message = await way(text, config, rng)
            except Exception as error:
                self._failed(number, error, began, given)
            else:
                self._got(number, text, message, began, given)

    async def _ainvoke(self, text: str, config: Any, rng: Random) -> Any:
        return await self.llm.ainvoke(text, config)

    async def _astream(self, text: str, config: Any, rng: Random) -> Any:
        async with aclosing(self.llm.astream(text, config)) as chunks:  # type: ignore[type-var]
            return added([chunk async for chunk in chunks])

    async def _aleave(self, text: str, config: Any, rng: Random) -> Any:
        left, received = rng.randrange(1, 12), []
        async with aclosing(self.llm.astream(text, config)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                received.append(chunk)
                if len(received) >= left:
                    return self._part(text, received)
        return added(received)

    async def _cancel(self, text: str, config: Any, rng: Random) -> Any:
        way = rng.choice((self._ainvoke, self._astream))
        task = asyncio.create_task(way(text, config, rng))
        await asyncio.wait({task}, timeout=rng.uniform(0.0, 0.4))
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None

    # -- what came back ---------------------------------------------------------------------------

    def _next(self, way: str, rng: Random) -> tuple[int, str, Policy, dict[str, Any]]:
        number, given = self.ledger.send(way.strip("_")), policy(rng)
        text = f"question {number} {rng.getrandbits(48):012x}" + " word" * rng.randrange(8)
        return number, text, given, {"configurable": {"cluster": {"policy": given}}}

    def _part(self, text: str, received: Iterable[Any]) -> None:
        begun = "".join(chunk.text for chunk in received)
        if not checked(text).startswith(begun):
            self.ledger.complain(f"a part is not of the answer to {text!r}: {begun!r}")

    def _got(self, number: int, text: str, message: AIMessage | None, began: float, given: Policy) -> None:
        seconds = self._in_time(number, began, given)
        if message is None:
            self.ledger.end(number, LEFT, seconds)
            return
        if str(message.text) != checked(text):
            self.ledger.complain(f"call {number} asked {text!r} and got {message.text!r}")
        where = message.response_metadata.get("cluster")
        if where is None:
            self.ledger.complain(f"call {number}: its answer does not say where it is from")
        else:
            self.ledger.by[where["endpoint"]] += 1
            model = message.response_metadata.get("model_name")
            if model != self.names[where["endpoint"]]:
                self.ledger.complain(f"call {number}: {where['endpoint']} answered as {model}")
        self.ledger.end(number, ANSWERED, seconds)

    def _failed(self, number: int, error: Exception, began: float, given: Policy) -> None:
        seconds = self._in_time(number, began, given)
        if not is_clear(error):
            self.ledger.complain(f"call {number} failed without a word of who was asked: {error!r}")
        partial = getattr(error, "partial", None)
        if partial is not None and not partial.text:
            self.ledger.complain(f"call {number}: a stream was interrupted before its first token")
        self.ledger.end(number, kind_of(error), seconds, error)

    def _in_time(self, number: int, began: float, given: Policy) -> float:
        seconds = time.monotonic() - began
        assert given.timeout is not None
        if seconds > given.timeout + SLACK + self.lag:
            way = current_thread().name
            self.ledger.complain(f"call {number} ({way}) took {seconds:.1f} s of {given.timeout:.1f} s")
        return seconds


def added(chunks: list[Any]) -> Any:
    """The message of all chunks."""
    first, *rest = chunks
    for chunk in rest:
        first = first + chunk
    return first
