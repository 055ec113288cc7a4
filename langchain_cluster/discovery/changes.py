"""Wait until something under a folder changes: told by the system through watchfiles, or by looking.

Nothing depends on being told: who waits looks again after a while in any case, since network file systems
and full watch tables tell nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Self

from langchain_cluster.extras import need

SELDOM = 10  # times `poll` without a look, where changes are told


class Changes:
    """Entered before the file is read, so that nothing between that and the wait is missed.

    Args:
        folder: where.
        poll: seconds between looks where nobody tells.
        told: whether to be told by watchfiles; None: if it is installed.

    Raises:
        ImportError: `told` is True, and watchfiles is not installed.
    """

    def __init__(self, folder: Path, poll: float, *, told: bool | None) -> None:
        self._folder, self._poll, self._told = folder, poll, told
        self._notify: Any = None

    def __enter__(self) -> Self:
        if self._told is not False:
            try:
                notify = need("watchfiles._rust_notify", extra="watch", for_="being told of changes")
            except ImportError:
                if self._told:
                    raise
            else:
                try:
                    os.stat(self._folder)  # of one that is not there nothing would ever be told
                    # Not `watchfiles.watch`: its first event would come after the wait has begun.
                    self._notify = notify.RustNotify([str(self._folder)], False, False, 0, False, True)
                except OSError:
                    self._notify = None  # no folder, or no watches left: look instead
        return self

    def wait(self, stop: Event, seconds: float) -> None:
        """Return when something may have changed, `stop` is set, or after `seconds`."""
        if self._notify is None:
            stop.wait(min(self._poll, seconds))
            return
        milliseconds = max(1, int(min(SELDOM * self._poll, seconds) * 1000))
        if self._notify.watch(50, 10, milliseconds, stop) == "signal":
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def __repr__(self) -> str:
        return f"<Changes in {self._folder}, {'looked for' if self._notify is None else 'told'}>"
