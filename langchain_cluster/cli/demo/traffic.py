"""A steady flow of questions: so many at once, the next one as soon as one is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from langchain_core.language_models import BaseChatModel

from langchain_cluster.cli.demo.screen import Screen
from langchain_cluster.cli.demo.tally import Tally


class Traffic:
    """Asks until it is stopped; a call that fails is counted and the next one is made."""

    def __init__(self, llm: BaseChatModel, asked: Iterator[str], tally: Tally, screen: Screen) -> None:
        self._llm, self._asked, self._tally, self._screen = llm, asked, tally, screen
        self._over = False

    def stop(self) -> None:
        """Ask nothing more; what was asked is answered."""
        self._over = True

    async def flow(self) -> None:
        """One asker."""
        tally = self._tally
        while not self._over:
            question = next(self._asked)
            tally.asked += 1
            try:
                message = await self._llm.ainvoke(question)
            except Exception as error:
                tally.failed(question, error)
                await asyncio.sleep(0.1)  # an error may come at once, and this must not spin
            else:
                self._screen.heard(tally.answered(question, message))
