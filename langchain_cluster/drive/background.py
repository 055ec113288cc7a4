"""Work beside the calls: a plan that runs on a thread of its own until it is stopped."""

from __future__ import annotations

from contextlib import closing
from threading import Event, Thread
from typing import Any

from langchain_cluster.plan import effects as fx


class Background:
    """One plan on one daemon thread. `stop` ends a pause at once.

    Args:
        plan: asks only for `Sleep` and `Fetch`.
        name: of the thread.
    """

    def __init__(self, plan: fx.Plan[None], name: str) -> None:
        self._plan = plan
        self._stop = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with closing(self._plan) as plan:
            answer: Any = None
            effect = next(plan, None)
            while effect is not None and not self._stop.is_set():
                try:
                    match effect:
                        case fx.Sleep(seconds):
                            self._stop.wait(seconds)
                            answer = None
                        case fx.Fetch(source, after):
                            answer = source.fetch(after)
                        case _:
                            raise TypeError(f"background work may not ask for {effect!r}")
                    if self._stop.is_set():
                        return
                    effect = plan.send(answer)
                except StopIteration:
                    return
                except Exception as error:
                    try:
                        effect = plan.throw(error)
                    except StopIteration:
                        return

    def stop(self, timeout: float | None = None) -> bool:
        """Ask it to end and wait at most `timeout` seconds; whether it has ended."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()
