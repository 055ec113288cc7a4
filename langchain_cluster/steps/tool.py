"""A tool whose results are kept, and which is still a tool: agents, `bind_tools` and tool nodes take it.

What is kept is what the tool's function returned, by its arguments: the message around it, with the id of
the call it answers, is made anew each time. A `ToolException` is no result.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field

from langchain_cluster.plan.step import Kept
from langchain_cluster.steps.keeper import Keeper

_OWN = (
    "name", "description", "args_schema", "return_direct", "verbose", "callbacks", "tags", "metadata",
    "handle_tool_error", "handle_validation_error", "response_format", "extras",
)  # fmt: skip


class CachedTool(BaseTool):
    """What `cached` makes of a tool. `tool` is the tool."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tool: BaseTool = Field(exclude=True)
    keeper: Any = Field(exclude=True, repr=False)

    @classmethod
    def around(cls, tool: BaseTool, keeper: Keeper) -> Self:
        """A tool like `tool`, by name, description and arguments."""
        own = {name: value for name in _OWN if (value := getattr(tool, name, None)) is not None}
        return cls(tool=tool, keeper=keeper, **own)

    def _run(
        self,
        *args: Any,
        config: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        step = self.keeper.step(_asked(args, kwargs), config, {})
        taken = {**kwargs, **_taken(self.tool._run, config, run_manager)}
        if step is None:
            return self.tool._run(*args, **taken)
        found = self.keeper.seek(step)
        if isinstance(found, Kept):
            return found.value
        with self.keeper.seated(step, found) as seated:
            value = self.tool._run(*args, **taken)
            seated.keep(value)
            return value

    async def _arun(
        self,
        *args: Any,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **kwargs: Any,
    ) -> Any:
        step = self.keeper.step(_asked(args, kwargs), config, {})
        # A tool that has only `_run` is asked through the inherited `_arun`, which hands everything on.
        method = self.tool._run if type(self.tool)._arun is BaseTool._arun else self.tool._arun
        taken = {**kwargs, **_taken(method, config, run_manager)}
        if step is None:
            return await self.tool._arun(*args, **taken)
        found = await self.keeper.aseek(step)
        if isinstance(found, Kept):
            return found.value
        with self.keeper.seated(step, found) as seated:
            value = await self.tool._arun(*args, **taken)
            await seated.akeep(value)
            return value

    def forget(self, input: Any, config: RunnableConfig | None = None) -> bool:
        """Remove what is kept for these arguments; whether there was something."""
        return bool(self.keeper.forget(self._arguments(input), config, {}))

    async def aforget(self, input: Any, config: RunnableConfig | None = None) -> bool:
        """The asyncio twin of `forget`."""
        return bool(await self.keeper.aforget(self._arguments(input), config, {}))

    def _arguments(self, input: Any) -> Any:
        """As `_run` is handed them: with the defaults of the schema."""
        args, kwargs = self._to_args_and_kwargs(input, None)
        return _asked(args, kwargs)


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return dict(kwargs) if not args else [list(args), dict(kwargs)]


def _taken(method: Any, config: RunnableConfig, run_manager: Any) -> dict[str, Any]:
    """What of the run a tool's own method asks for."""
    parameters = signature(method).parameters
    taken: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name == "run_manager":
            taken[name] = run_manager
        elif name == "config" and parameter.kind is not parameter.VAR_KEYWORD:
            taken[name] = config
    return taken
