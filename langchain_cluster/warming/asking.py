"""Ask what is not in the cache yet, a few at a time. What is there is asked of nobody.

The cache itself is the record of what is done: a run that was cut off goes on where it stopped, and one
that is repeated costs nothing. So does one that another process has made for the same shared store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import Any, Literal

from langchain_core.runnables.base import RunnableBindingBase

from langchain_cluster.errors import ClusterError, ConfigError
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.telemetry.scrub import scrub
from langchain_cluster.warming.prompts import Prompt, prompts_of

_TOLD = 10  # failures that are told of
_HOPELESS = 10  # answers that were not kept before any was: the cache is away, or keeps no such answers
_LONGEST = 200  # characters of an error

How = Literal["hits", "asked", "unkept", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Warmed:
    """What became of the prompts so far.

    Attributes:
        total: prompts in all.
        hits: were in the cache. asked: were asked, and are now.
        unkept: were asked, and their answers are not to be kept (cut off, filtered, tool calls).
        skipped: cannot be cached, and so were not asked (a temperature above 0, media by an address).
        failed: nobody could answer.
        errors: of the first of those: place and error.
    """

    total: int
    hits: int = 0
    asked: int = 0
    unkept: int = 0
    skipped: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """Prompts that were looked at."""
        return self.hits + self.asked + self.unkept + self.skipped + self.failed


Progress = Callable[[Warmed], None]


def warm(
    llm: Any,
    prompts: Iterable[Any],
    *,
    concurrency: int = 8,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Warmed:
    """Have the answers to `prompts` in the cache of a `ClusteredLLM`.

    Args:
        llm: the model, or a binding of it (`llm.bind_tools(...)`): another key.
        prompts: texts, messages, mappings as in a JSON line, or `Prompt`s.
        concurrency: prompts in flight at once, >= 1.
        refresh: ask also what is kept, and replace it.
        progress: told after each prompt, one call at a time.

    Raises:
        ConfigError: no cache, or a prompt that is none.
        ClusterError: none of the first answers was kept: the cache is away.
    """
    run = _Run(llm, prompts, concurrency, refresh, progress)
    stopped = Event()

    def work() -> None:
        for prompt in run.rest():
            if stopped.is_set():
                return
            how: How = "failed"
            error: Exception | None = None
            try:
                keys = run.keys(prompt)
                how = "skipped"
                if keys:
                    how = "failed"
                    answer = run.model.invoke(prompt.input, run.config(prompt), **run.given(prompt))
                    there = run.store is None or any(map(run.store.exists, keys))
                    how = _became(answer, there=there)
            except Exception as failure:
                error = failure
            run.ended(prompt, how, error)

    with ThreadPoolExecutor(run.concurrency, "langchain-cluster-warm") as threads:
        working = [threads.submit(work) for _ in range(run.concurrency)]
        try:
            for each in working:
                each.result()
        except BaseException:
            stopped.set()
            raise
    return run.warmed


async def awarm(
    llm: Any,
    prompts: Iterable[Any],
    *,
    concurrency: int = 8,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Warmed:
    """The asyncio twin of `warm`. Cancelling it leaves nothing half done."""
    run = _Run(llm, prompts, concurrency, refresh, progress)

    async def work() -> None:
        for prompt in run.rest():
            how: How = "failed"
            error: Exception | None = None
            try:
                keys = run.keys(prompt)
                how = "skipped"
                if keys:
                    how = "failed"
                    answer = await run.model.ainvoke(prompt.input, run.config(prompt), **run.given(prompt))
                    there = run.store is None
                    for key in keys:
                        there = there or await run.store.aexists(key)
                    how = _became(answer, there=there)
            except Exception as failure:
                error = failure
            run.ended(prompt, how, error)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(run.concurrency):
                tasks.create_task(work())
    except BaseExceptionGroup as group:  # the first of ours, as itself
        raise group.exceptions[0] from None
    return run.warmed


def _became(answer: Any, *, there: bool) -> How:
    if answer.response_metadata["cluster"]["cache"] not in ("miss", "off"):
        return "hits"
    return "asked" if there else "unkept"


class _Run:
    """What the workers of one run share."""

    def __init__(
        self, llm: Any, prompts: Iterable[Any], concurrency: int, refresh: bool, progress: Progress | None
    ) -> None:
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigError(f"{concurrency!r} is not an integer >= 1", key="warm.concurrency")
        self._bound: dict[str, Any] = {}
        while isinstance(llm, RunnableBindingBase):
            self._bound = {**llm.kwargs, **self._bound}
            llm = llm.bound
        if not isinstance(llm, ClusteredLLM):
            raise ConfigError(f"{type(llm).__name__} is no ClusteredLLM", key="warm.llm")
        if llm.cluster.keys is None:
            raise ConfigError("there is no cache to be warmed: give the cluster one", key="cache")
        self.model, self.store = llm, llm.cluster.cache
        found = list(prompts_of(prompts))
        self.concurrency = min(concurrency, max(1, len(found)))
        self.warmed = Warmed(len(found))
        self._rest, self._refresh, self._progress = iter(found), refresh, progress
        self._lock = Lock()

    def rest(self) -> Iterator[Prompt]:
        """The prompts nobody has taken yet."""
        while True:
            with self._lock:
                prompt = next(self._rest, None)
            if prompt is None:
                return
            yield prompt

    def config(self, prompt: Prompt) -> Any:
        """The config of a prompt's call."""
        config = prompt.config
        if self._refresh:
            config["configurable"]["cluster"]["cache"] = "refresh"
        return config

    def given(self, prompt: Prompt) -> dict[str, Any]:
        """The arguments of a prompt's call."""
        given = {**self._bound, **prompt.arguments}
        return given if prompt.stop is None else {**given, "stop": prompt.stop}

    def keys(self, prompt: Prompt) -> tuple[str, ...]:
        """Where its answer may lie; nowhere: nobody is asked."""
        return self.model.cache_keys(prompt.input, self.config(prompt), **self.given(prompt))

    def ended(self, prompt: Prompt, how: How, error: Exception | None) -> None:
        """Count it. Raises ClusterError when it is of no use to go on."""
        with self._lock:
            warmed = self.warmed
            errors = warmed.errors
            if error is not None and len(errors) < _TOLD:
                text = scrub(" ".join(str(error).split()))[:_LONGEST]
                errors = (*errors, f"{prompt.place}: {type(error).__name__}: {text}")
            self.warmed = warmed = replace(warmed, errors=errors, **{how: getattr(warmed, how) + 1})
            if self._progress is not None:
                self._progress(warmed)
        if warmed.unkept >= _HOPELESS and not warmed.hits + warmed.asked:
            raise ClusterError(
                f"none of the first {warmed.unkept} answers was kept: is the cache away, or are they cut off?"
            )
