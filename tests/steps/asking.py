"""One way to ask a step, whichever of its faces answers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import copy_context
from functools import reduce
from operator import add
from typing import Any

FACES = ("invoke", "ainvoke", "stream", "astream", "batch", "abatch")


class Face:
    """Asks through one face; the awaited ones on `runner`'s loop."""

    def __init__(self, name: str, runner: asyncio.Runner) -> None:
        self.name, self._runner = name, runner

    def ask(self, step: Any, input: Any, config: Any = None, **given: Any) -> Any:
        """The result; of a stream its chunks added up."""
        match self.name:
            case "batch":
                return step.batch([input], config, **given)[0]
            case "abatch":
                return self._run(step.abatch([input], config, **given))[0]
            case "stream":
                return _sum(list(step.stream(input, config, **given)))
            case "astream":
                return _sum(self._run(_listed(step.astream(input, config, **given))))
            case "ainvoke":
                return self._run(step.ainvoke(input, config, **given))
        return step.invoke(input, config, **given)

    def _run(self, work: Any) -> Any:
        return self._runner.run(work, context=copy_context())  # who watches by a variable watches here too


def _sum(chunks: list[Any]) -> Any:
    return chunks[0] if len(chunks) == 1 else reduce(add, chunks)


async def _listed(chunks: Any) -> list[Any]:
    async with aclosing(chunks):
        return [chunk async for chunk in chunks]


class Counted:
    """A function that counts how often it was asked, and gives what it is told to, in order."""

    def __init__(self, *script: Any) -> None:
        self.script, self.inputs = script, []

    @property
    def calls(self) -> int:
        return len(self.inputs)

    def __call__(self, input: Any) -> Any:
        """The next step of the script; an exception is raised, the last is repeated."""
        step = self.script[min(self.calls, len(self.script) - 1)] if self.script else f"{input} {self.calls}"
        self.inputs.append(input)
        if isinstance(step, BaseException):
            raise step
        return step


def settings(**wishes: Any) -> dict[str, Any]:
    """A config that tells a cluster's call something."""
    return {"configurable": {"cluster": wishes}}
