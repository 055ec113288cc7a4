"""A Runnable whose results are kept: on a miss it is the step itself that runs, as if nothing were around it.

A hit is a run too, of the step's name and with a tag that says where the result came from: a trace has the
same shape either way. The step's own callbacks, config and run name are its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any

from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langchain_core.runnables.utils import ConfigurableFieldSpec

from langchain_cluster.plan.step import Kept
from langchain_cluster.steps.keeper import Keeper, Seated
from langchain_cluster.steps.whole import Whole, as_chunk


class CachedRunnable(Runnable[Any, Any]):
    """What `cached` makes of a Runnable. `bound` is the Runnable, `events` tells of its cache."""

    def __init__(self, bound: Runnable[Any, Any], keeper: Keeper) -> None:
        self.bound, self.keeper = bound, keeper
        self.events = keeper.events

    # -- the faces ----------------------------------------------------------------------------------

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The result, kept or worked out. See `Runnable.invoke`."""
        step = self.keeper.step(input, config, kwargs)
        if step is None:
            return self.bound.invoke(input, config, **kwargs)
        found = self.keeper.seek(step)
        if isinstance(found, Kept):
            return self._call_with_config(
                lambda _: found.value, input, _told(config, found.layer), run_type=self._run_type
            )
        with self.keeper.seated(step, found) as seated:
            value = self.bound.invoke(input, config, **kwargs)
            seated.keep(value)
            return value

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The asyncio twin of `invoke`."""
        step = self.keeper.step(input, config, kwargs)
        if step is None:
            return await self.bound.ainvoke(input, config, **kwargs)
        found = await self.keeper.aseek(step)
        if isinstance(found, Kept):

            async def kept(_: Any) -> Any:
                return found.value

            return await self._acall_with_config(
                kept, input, _told(config, found.layer), run_type=self._run_type
            )
        with self.keeper.seated(step, found) as seated:
            value = await self.bound.ainvoke(input, config, **kwargs)
            await seated.akeep(value)
            return value

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """The step's own chunks; what is kept comes as one. A stream that is left early keeps nothing."""
        step = self.keeper.step(input, config, kwargs, streaming=True)
        if step is None:
            yield from self.bound.stream(input, config, **kwargs)
            return
        found = self.keeper.seek(step)
        if isinstance(found, Kept):
            replayed = iter([as_chunk(found.value)])
            yield from self._transform_stream_with_config(
                iter([input]), lambda _: replayed, _told(config, found.layer), run_type=self._run_type
            )
            return
        with self.keeper.seated(step, found) as seated:
            whole = Whole()
            chunks: Any = self.bound.stream(input, config, **kwargs)
            with closing(chunks):
                for chunk in chunks:
                    whole.add(chunk)
                    yield chunk
            value = _value_of(whole, seated)
            if value is not None:
                seated.keep(value[0])

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """The asyncio twin of `stream`."""
        step = self.keeper.step(input, config, kwargs, streaming=True)
        chunks: Any
        if step is None:
            chunks = self.bound.astream(input, config, **kwargs)
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
            return
        found = await self.keeper.aseek(step)
        if isinstance(found, Kept):
            chunk = as_chunk(found.value)
            chunks = self._atransform_stream_with_config(
                _one(input), lambda _: _one(chunk), _told(config, found.layer), run_type=self._run_type
            )
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
            return
        with self.keeper.seated(step, found) as seated:
            whole = Whole()
            chunks = self.bound.astream(input, config, **kwargs)
            async with aclosing(chunks):
                async for chunk in chunks:
                    whole.add(chunk)
                    yield chunk
            value = _value_of(whole, seated)
            if value is not None:
                await seated.akeep(value[0])

    # -- taking back --------------------------------------------------------------------------------

    def forget(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> bool:
        """Remove what is kept for this input; whether there was something. Raises what the store raises."""
        return self.keeper.forget(input, config, kwargs)

    async def aforget(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> bool:
        """The asyncio twin of `forget`."""
        return await self.keeper.aforget(input, config, kwargs)

    # -- the step's own -----------------------------------------------------------------------------

    @property
    def _run_type(self) -> str | None:
        return "retriever" if isinstance(self.bound, BaseRetriever) else None

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """As the step's."""
        return self.bound.get_name(suffix, name=name)

    @property
    def InputType(self) -> Any:
        """As the step's."""
        return self.bound.InputType

    @property
    def OutputType(self) -> Any:
        """As the step's."""
        return self.bound.OutputType

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """As the step's."""
        return self.bound.get_input_schema(config)

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """As the step's."""
        return self.bound.get_output_schema(config)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """As the step's."""
        return self.bound.config_specs

    def get_graph(self, config: RunnableConfig | None = None) -> Any:
        """As the step's."""
        return self.bound.get_graph(config)

    def __repr__(self) -> str:
        return f"cached({self.bound!r})"


def _told(config: RunnableConfig | None, layer: str) -> RunnableConfig:
    """The config of a hit's run."""
    config = ensure_config(config)
    return {**config, "tags": [*(config.get("tags") or []), f"cache:{layer}"]}


def _value_of(whole: Whole, seated: Seated) -> tuple[Any] | None:
    try:
        return (whole.value(),)
    except ValueError as why:
        seated.not_kept(str(why))
        return None


async def _one(item: Any) -> AsyncIterator[Any]:
    yield item
